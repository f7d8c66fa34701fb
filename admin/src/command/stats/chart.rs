//! Graphs of letters; pure. What a cell is, its letter says, so that nothing depends on
//! colours.

use crate::output::{Cell, Tone};

/// Lines of a column of the highest day.
const HEIGHT: u64 = 8;

/// Letters of the widest column.
const MAX_COLUMN: usize = 4;

/// What is drawn on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paper {
    /// In letters.
    pub(super) width: usize,
    /// Whether there are more letters than those of ASCII.
    pub(super) is_utf8: bool,
}

/// Of which of two parts a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    First,
    Second,
}

impl Paper {
    fn letter(self, ink: Ink) -> &'static str {
        match (self.is_utf8, ink) {
            (true, Ink::First) => "█",
            (true, Ink::Second) => "░",
            (false, Ink::First) => "#",
            (false, Ink::Second) => "o",
        }
    }

    /// Of a day without anything.
    const fn nothing(self) -> &'static str {
        if self.is_utf8 { "·" } else { "." }
    }

    const fn upright(self) -> &'static str {
        if self.is_utf8 { "│" } else { "|" }
    }

    const fn corner(self) -> &'static str {
        if self.is_utf8 { "└" } else { "+" }
    }

    const fn level(self) -> &'static str {
        if self.is_utf8 { "─" } else { "-" }
    }

    fn inked(self, ink: Ink, count: usize) -> Cell {
        let tone = match ink {
            Ink::First => Tone::Good,
            Ink::Second => Tone::Notice,
        };
        Cell::toned(self.letter(ink).repeat(count), tone)
    }
}

/// A bar to the right.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: u64,
    pub(super) ink: Ink,
}

/// Bars beneath one another, each with its number; the longest has the width.
pub(super) fn bars(title: &str, bars: &[Bar], paper: &Paper) -> Vec<Vec<Cell>> {
    let most = bars.iter().map(|bar| bar.value).max().unwrap_or(0);
    let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let labels = widest(&mut bars.iter().map(|bar| bar.label.len()));
    let numbers = widest(&mut bars.iter().map(|bar| bar.value.to_string().len()));
    let room = paper.width.saturating_sub(labels + numbers + 4).max(1);
    let mut lines = vec![vec![Cell::from(title)]];
    for bar in bars {
        let mut line = vec![Cell::from(format!(
            "{:labels$}  {:>numbers$}  ",
            bar.label, bar.value
        ))];
        let length = share(bar.value, most, room as u64);
        if length > 0 {
            line.push(paper.inked(bar.ink, usize::try_from(length).unwrap_or(room)));
        }
        lines.push(line);
    }
    lines
}

/// How much of `room` is due to `value` where `most` has it all; a little is not nothing.
fn share(value: u64, most: u64, room: u64) -> u64 {
    if value == 0 || most == 0 {
        return 0;
    }
    let share = u128::from(value) * u128::from(room) / u128::from(most);
    u64::try_from(share).unwrap_or(room).clamp(1, room)
}

/// A column for each day, of two parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    pub(super) title: &'a str,
    pub(super) parts: [&'a str; 2],
    /// The day, YYYY-MM-DD, and its parts.
    pub(super) days: &'a [(&'a str, (u64, u64))],
    /// A value in words.
    pub(super) shown: fn(u64) -> String,
}

/// Every day has its column; what does not fit beside goes beneath.
pub(super) fn columns(of: &Columns<'_>, paper: &Paper) -> Vec<Vec<Cell>> {
    let sums = of.days.iter().map(|(_, (a, b))| a.saturating_add(*b));
    let most = sums.max().unwrap_or(0);
    let label = (of.shown)(most);
    let gutter = label.len().max(1) + 2;
    let room = paper.width.saturating_sub(gutter).max(1);
    let column = (room / of.days.len().max(1)).clamp(1, MAX_COLUMN);
    let mut lines = vec![vec![
        Cell::from(format!("{}   ", of.title)),
        paper.inked(Ink::First, 1),
        Cell::from(format!(" {}   ", of.parts[0])),
        paper.inked(Ink::Second, 1),
        Cell::from(format!(" {}", of.parts[1])),
    ]];
    for panel in of.days.chunks((room / column).max(1)) {
        lines.extend(self::panel(panel, most, column, &label, paper));
    }
    lines
}

fn panel(
    days: &[(&str, (u64, u64))],
    most: u64,
    column: usize,
    label: &str,
    paper: &Paper,
) -> Vec<Vec<Cell>> {
    let width = label.len().max(1);
    let heights: Vec<_> = days.iter().map(|(_, parts)| height(*parts, most)).collect();
    let mut lines = Vec::new();
    for level in (1..=HEIGHT).rev() {
        let label = if level == HEIGHT { label } else { "" };
        let mut line = vec![Cell::from(format!("{label:>width$} {}", paper.upright()))];
        for (first, second) in &heights {
            line.push(if level <= *first {
                paper.inked(Ink::First, column)
            } else if level <= first + second {
                paper.inked(Ink::Second, column)
            } else if level == 1 {
                Cell::from(paper.nothing().repeat(column))
            } else {
                Cell::from(" ".repeat(column))
            });
        }
        lines.push(line);
    }
    let length = days.len() * column;
    lines.push(vec![Cell::from(format!(
        "{:>width$} {}{}",
        "0",
        paper.corner(),
        paper.level().repeat(length)
    ))]);
    let mut ends = [days.first(), days.last()]
        .into_iter()
        .map(|day| day.and_then(|(day, _)| day.get(5..)).unwrap_or(""));
    let (from, to) = (ends.next().unwrap_or(""), ends.next().unwrap_or(""));
    let between = length.saturating_sub(from.len());
    let ends = match between > to.len() {
        true => format!("{from}{to:>between$}"),
        false => from.to_owned(),
    };
    lines.push(vec![Cell::from(format!("{:width$}  {ends}", ""))]);
    lines
}

/// How high the parts of a day are; each that is not nothing shows, where there is room.
fn height((first, second): (u64, u64), most: u64) -> (u64, u64) {
    let sum = first.saturating_add(second);
    let all = share(sum, most, HEIGHT);
    if second == 0 {
        return (all, 0);
    }
    if first == 0 {
        return (0, all);
    }
    if all == 1 {
        return if first >= second { (1, 0) } else { (0, 1) };
    }
    let of_second = share(second, sum, all).min(all - 1);
    (all - of_second, of_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: Paper = Paper {
        width: 40,
        is_utf8: false,
    };

    fn text(lines: &[Vec<Cell>]) -> Vec<String> {
        let line = |cells: &Vec<Cell>| cells.iter().map(Cell::text).collect::<String>();
        lines
            .iter()
            .map(|cells| line(cells).trim_end().to_owned())
            .collect()
    }

    fn drawn(days: &[(&str, (u64, u64))], paper: &Paper) -> Vec<String> {
        let columns = Columns {
            title: "Requests per day",
            parts: ["ok", "failed"],
            days,
            shown: |count| count.to_string(),
        };
        text(&super::columns(&columns, paper))
    }

    #[test]
    fn a_column_has_its_share_of_the_height_and_nothing_is_a_point() {
        let days = [
            ("2026-11-19", (8, 0)),
            ("2026-11-20", (0, 0)),
            ("2026-11-21", (3, 1)),
            ("2026-11-22", (0, 1)),
        ];
        let expected = [
            "Requests per day   # ok   o failed",
            "8 |####",
            "  |####",
            "  |####",
            "  |####",
            "  |####    oooo",
            "  |####    ####",
            "  |####    ####",
            "  |####....####oooo",
            "0 +----------------",
            "   11-19      11-22",
        ];
        assert_eq!(drawn(&days, &ASCII), expected);
    }

    #[test]
    fn days_that_do_not_fit_go_beneath_and_none_is_missing() {
        let names: Vec<_> = (1..=90).map(|n| format!("2026-01-{n:02}")).collect();
        let days: Vec<_> = names.iter().map(|name| (name.as_str(), (1, 0))).collect();
        let lines = drawn(&days, &ASCII);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 40),
            "{lines:#?}"
        );
        let cells: usize = lines[1..]
            .iter()
            .map(|line| line.matches('#').count())
            .sum();
        assert_eq!(cells, 90 * 8);
    }

    #[test]
    fn without_anything_there_is_a_floor() {
        let lines = drawn(&[("2026-11-21", (0, 0)), ("2026-11-22", (0, 0))], &ASCII);
        assert_eq!(lines[8], "  |........");
        assert_eq!(lines[9], "0 +--------");
    }

    #[test]
    fn bars_say_their_number_and_a_little_is_seen() {
        let bar = |label: &str, value, ink| Bar {
            label: label.to_owned(),
            value,
            ink,
        };
        let lines = [
            bar("up ok", 1_000, Ink::First),
            bar("up failed", 1, Ink::Second),
            bar("down", 0, Ink::First),
        ];
        let utf8 = Paper {
            width: 27,
            is_utf8: true,
        };
        let expected = [
            "Requests",
            "up ok      1000  ██████████",
            "up failed     1  ░",
            "down          0",
        ];
        assert_eq!(text(&bars("Requests", &lines, &utf8)), expected);
    }

    #[test]
    fn both_parts_of_a_day_show_where_there_is_room() {
        for (parts, most, expected) in [
            ((1_000_000, 1), 1_000_001, (7, 1)),
            ((1, 1_000_000), 1_000_001, (1, 7)),
            ((1, 1), 1_000_000, (1, 0)),
            ((1, 2), 1_000_000, (0, 1)),
            ((1 << 40, 1 << 40), 1 << 41, (4, 4)),
            ((0, u64::MAX), u64::MAX, (0, 8)),
            ((0, 0), 0, (0, 0)),
        ] {
            assert_eq!(height(parts, most), expected, "{parts:?}");
        }
    }
}
