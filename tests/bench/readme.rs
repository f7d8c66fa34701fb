//! The table, and its place in README.md.

use std::fs;
use std::path::Path;

use crate::contest::Line;

/// Which of its tables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Sftp,
    Ftps,
    Retention,
}

impl Place {
    /// The comments around it.
    const fn marks(self) -> [&'static str; 2] {
        match self {
            Self::Sftp => [
                "<!-- measured by tests/run --bench: begin -->",
                "<!-- measured by tests/run --bench: end -->",
            ],
            Self::Ftps => [
                "<!-- FTPS, measured by tests/run --bench: begin -->",
                "<!-- FTPS, measured by tests/run --bench: end -->",
            ],
            Self::Retention => [
                "<!-- retention, measured by tests/run --bench: begin -->",
                "<!-- retention, measured by tests/run --bench: end -->",
            ],
        }
    }
}

pub(crate) fn table(lines: &[Line], runs: usize) -> String {
    let mut text = format!(
        "| median of {runs} runs | OpenSSH | Layover | Layover / OpenSSH |\n|---|---:|---:|---:|\n"
    );
    for line in lines {
        let (openssh, ratio) = match line.openssh {
            Some(openssh) => (
                format!("{openssh:.2} {}", line.unit),
                format!("{:.2}", line.layover / openssh),
            ),
            None => ("–".to_owned(), "–".to_owned()),
        };
        text.push_str(&format!(
            "| {} | {openssh} | {:.2} {} | {ratio} |\n",
            line.what, line.layover, line.unit
        ));
    }
    text
}

/// Puts the table where README.md keeps it.
pub(crate) fn put(readme: &Path, place: Place, table: &str) {
    let [begin, end] = place.marks();
    let text = fs::read_to_string(readme).expect("read README.md");
    let (before, rest) = text
        .split_once(begin)
        .expect("README.md has a place for it");
    let (_, after) = rest.split_once(end).expect("README.md has its end");
    let text = format!("{before}{begin}\n{table}{end}{after}");
    fs::write(readme, text).expect("write README.md");
}
