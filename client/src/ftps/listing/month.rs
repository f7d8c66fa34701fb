//! Names of months in the languages that servers speak.

/// Names as they are once folded ([`fold`]); a longer form may follow.
const MONTHS: [&[&str]; 12] = [
    // English, German, Dutch, Swedish; French; Spanish; Italian.
    &[
        "jan", "jaen", "january", "januar", "januari", "janv", "janvier", "ene", "enero", "gen",
        "gennaio",
    ],
    &[
        "feb", "febr", "february", "februar", "februari", "fev", "fevr", "fevrier", "febrero",
        "febbraio",
    ],
    &[
        "mar", "march", "marz", "maerz", "mrz", "mrt", "maart", "mars", "marzo",
    ],
    &["apr", "april", "avr", "avril", "abr", "abril", "aprile"],
    &["may", "mai", "mei", "maj", "mayo", "mag", "maggio"],
    &["jun", "june", "juni", "juin", "junio", "giu", "giugno"],
    &[
        "jul", "july", "juli", "juil", "juillet", "julio", "lug", "luglio",
    ],
    &[
        "aug", "august", "augustus", "augusti", "aou", "aout", "ago", "agosto",
    ],
    &[
        "sep",
        "sept",
        "september",
        "septembre",
        "set",
        "septiembre",
        "settembre",
    ],
    &[
        "oct", "october", "okt", "oktober", "octobre", "octubre", "ott", "ottobre",
    ],
    &["nov", "november", "novembre", "noviembre"],
    &[
        "dec",
        "december",
        "dez",
        "dezember",
        "decembre",
        "dic",
        "diciembre",
        "dicembre",
        "des",
    ],
];

/// 1 to 12 for the name of a month, with or without a dot behind it, in UTF-8
/// or Latin-1.
pub(super) fn number(name: &[u8]) -> Option<i8> {
    // The longest name has 10 letters.
    if name.len() > 24 {
        return None;
    }
    let folded = fold(name.strip_suffix(b".").unwrap_or(name));
    MONTHS
        .iter()
        .zip(1..)
        .find_map(|(names, number)| names.contains(&folded.as_str()).then_some(number))
}

/// Lower case without accents.
fn fold(name: &[u8]) -> String {
    let text: String = match std::str::from_utf8(name) {
        Ok(text) => text.to_owned(),
        Err(_) => name.iter().copied().map(char::from).collect(),
    };
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|character| match character {
            'ä' | 'á' | 'à' => 'a',
            'é' | 'è' => 'e',
            'û' | 'ù' | 'ü' => 'u',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_of_six_languages_are_known() {
        let tables: [(&str, [&str; 12]); 7] = [
            (
                "English",
                [
                    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
                    "Dec",
                ],
            ),
            (
                "German",
                [
                    "Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov",
                    "Dez",
                ],
            ),
            (
                "German, another table",
                [
                    "Jan.", "Febr.", "Mrz", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.",
                    "Nov.", "Dez.",
                ],
            ),
            (
                "French",
                [
                    "janv.", "févr.", "mars", "avril", "mai", "juin", "juil.", "août", "sept.",
                    "oct.", "nov.", "déc.",
                ],
            ),
            (
                "Dutch",
                [
                    "jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov",
                    "dec",
                ],
            ),
            (
                "Spanish",
                [
                    "ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov",
                    "dic",
                ],
            ),
            (
                "Italian",
                [
                    "gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov",
                    "dic",
                ],
            ),
        ];
        for (language, names) in tables {
            for (name, expected) in names.iter().zip(1..) {
                assert_eq!(number(name.as_bytes()), Some(expected), "{language} {name}");
            }
        }
        assert_eq!(number(b"M\xe4r"), Some(3), "Latin-1");
        assert_eq!(number(b"ao\xfbt"), Some(8), "Latin-1");
        assert_eq!(number(b"D\xc9C."), Some(12), "Latin-1, upper case");
        for no_month in [&b""[..], b".", b"x", b"Jana", b"12", &[b'a'; 25]] {
            assert_eq!(number(no_month), None, "{no_month:?}");
        }
    }
}
