//! Where results go: a table on a terminal, plain tab-separated lines into a
//! pipe, JSON when asked for. Nothing else in this crate writes to stdout.

use std::io::{self, IsTerminal, Write};

use comfy_table::presets::{NOTHING, UTF8_FULL_CONDENSED};
use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, TableStyle, Width};
use owo_colors::{OwoColorize, Style};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

/// What the reader of stdout wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A person at a terminal: tables, and colours unless `NO_COLOR` is set.
    Terminal {
        /// Whether colours may be used.
        colours: bool,
    },
    /// A script: tab-separated lines without a heading.
    Plain,
    /// A script: one JSON document (or one per line where a stream is printed).
    Json,
}

/// The one way to stdout.
#[derive(Debug)]
pub(crate) struct Output<W = io::Stdout> {
    form: Form,
    writer: W,
}

impl Output {
    /// Stdout in the form that its reader wants.
    pub(crate) fn stdout(json: bool) -> Self {
        let writer = io::stdout();
        let form = if json {
            Form::Json
        } else if writer.is_terminal() {
            Form::Terminal {
                colours: std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()),
            }
        } else {
            Form::Plain
        };
        Self { form, writer }
    }

    /// Whether nobody can read any more what is printed: a pipe's other end is
    /// closed. Writing would tell, too, but only when there is something to say.
    pub(crate) fn reader_is_gone(&self) -> bool {
        let mut stdout = [PollFd::new(&self.writer, PollFlags::empty())];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut stdout, Some(&at_once)).is_ok()
            && stdout
                .iter()
                .any(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP))
    }
}

impl<W: Write> Output<W> {
    /// Whether JSON was asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// Whether a person reads it at a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.form, Form::Terminal { .. })
    }

    /// Prints lines of cells that stand close together.
    pub(crate) fn drawing(&mut self, lines: &[Vec<Cell>]) -> io::Result<()> {
        let colours = self.form == Form::Terminal { colours: true };
        for line in lines {
            let shown: String = line.iter().map(|cell| cell.shown(colours)).collect();
            writeln!(self.writer, "{}", shown.trim_end())?;
        }
        Ok(())
    }

    /// Prints a list: `document` as JSON, or `table`. Where an empty table would
    /// be printed, it says `nothing`: on a terminal there, else on stderr.
    pub(crate) fn list(
        &mut self,
        document: &impl Serialize,
        table: &Table,
        nothing: &str,
    ) -> io::Result<()> {
        if table.rows.is_empty() {
            self.say_nothing(nothing)?;
        }
        match self.form {
            Form::Json => self.document(document),
            Form::Terminal { .. } if table.rows.is_empty() => Ok(()),
            Form::Terminal { colours } => writeln!(self.writer, "{}", table.drawn(colours)),
            Form::Plain => self.writer.write_all(table.plain().as_bytes()),
        }
    }

    /// Prints one thing: `document` as JSON, or its fields one a line.
    pub(crate) fn fields(&mut self, document: &impl Serialize, fields: &Fields) -> io::Result<()> {
        match self.form {
            Form::Json => self.document(document),
            Form::Terminal { colours } => {
                let width = fields
                    .0
                    .iter()
                    .map(|(name, _)| name.chars().count())
                    .max()
                    .unwrap_or(0);
                for (name, cell) in &fields.0 {
                    writeln!(self.writer, "{name:width$}  {}", cell.shown(colours))?;
                }
                Ok(())
            }
            Form::Plain => {
                for (name, cell) in &fields.0 {
                    writeln!(self.writer, "{name}\t{}", one_line(&cell.text))?;
                }
                Ok(())
            }
        }
    }

    /// Prints what was done: `document` as JSON, or one sentence.
    pub(crate) fn done(&mut self, document: &impl Serialize, sentence: &str) -> io::Result<()> {
        match self.form {
            Form::Json => self.document(document),
            Form::Terminal { .. } | Form::Plain => self.line(&printable(sentence)),
        }
    }

    /// Prints a list as it comes, or, at a terminal, as the table that it makes: a list
    /// that has an end.
    pub(crate) fn listed(
        &mut self,
        array: &mut JsonArray,
        document: &impl Serialize,
        row: Vec<Cell>,
        table: &mut Table,
    ) -> io::Result<()> {
        match self.form {
            Form::Terminal { .. } if table.rows.len() < MAX_TABLE_ROWS => {
                table.row(row);
                Ok(())
            }
            Form::Terminal { .. } => {
                self.draw(table)?;
                table.rows.clear();
                table.row(row);
                Ok(())
            }
            Form::Json | Form::Plain => self.stream(array, document, &row),
        }
    }

    /// Draws the rows that [`Output::listed`] gathered, if there are any.
    pub(crate) fn draw(&mut self, table: &Table) -> io::Result<()> {
        match self.form {
            Form::Terminal { colours } if !table.rows.is_empty() => {
                writeln!(self.writer, "{}", table.drawn(colours))
            }
            _ => Ok(()),
        }
    }

    /// Prints one row of a list of unknown length: an element of `array`, or its
    /// cells.
    pub(crate) fn stream(
        &mut self,
        array: &mut JsonArray,
        document: &impl Serialize,
        row: &[Cell],
    ) -> io::Result<()> {
        match self.form {
            Form::Json => {
                self.writer.write_all(array.before_element())?;
                let text = printable_json(&serde_json::to_string(document)?);
                self.writer.write_all(text.as_bytes())?;
                self.writer.write_all(array.after_element())?;
            }
            Form::Plain => self.writer.write_all(plain_row(row).as_bytes())?,
            Form::Terminal { colours } => {
                let shown: Vec<_> = row.iter().map(|cell| cell.shown(colours)).collect();
                writeln!(self.writer, "{}", shown.join("  "))?;
            }
        }
        self.writer.flush()
    }

    /// Ends a list that was printed by [`Output::stream`]; says `nothing` as
    /// [`Output::list`] does when there was no row.
    pub(crate) fn end_stream(
        &mut self,
        array: &JsonArray,
        rows: u64,
        nothing: &str,
    ) -> io::Result<()> {
        if rows == 0 {
            self.say_nothing(nothing)?;
        }
        if self.is_json() {
            self.writer.write_all(array.end())?;
        }
        self.writer.flush()
    }

    /// Says why there is nothing to see, where it does not spoil the result.
    fn say_nothing(&mut self, nothing: &str) -> io::Result<()> {
        match self.form {
            Form::Terminal { .. } => self.line(nothing),
            Form::Plain | Form::Json => {
                note(nothing);
                Ok(())
            }
        }
    }

    /// Prints one line as it is.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.writer, "{text}")
    }

    /// Prints one line in which `cell` may be coloured.
    pub(crate) fn marked_line(&mut self, cell: &Cell, rest: &str) -> io::Result<()> {
        let colours = self.form == Form::Terminal { colours: true };
        writeln!(self.writer, "{}{rest}", cell.shown(colours))
    }

    fn document(&mut self, document: &impl Serialize) -> io::Result<()> {
        let text = printable_json(&serde_json::to_string_pretty(document)?);
        writeln!(self.writer, "{text}")
    }
}

/// Tells a person something beside the result. A closed stderr is nobody's loss.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// How the elements of a streamed list are held together in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonArray {
    /// One array; nothing printed yet.
    Empty,
    /// One array; it has elements.
    Begun,
    /// No array: one object a line, for a list without an end.
    Lines,
}

impl JsonArray {
    fn before_element(&mut self) -> &'static [u8] {
        match self {
            Self::Empty => {
                *self = Self::Begun;
                b"[\n"
            }
            Self::Begun => b",\n",
            Self::Lines => b"",
        }
    }

    fn after_element(self) -> &'static [u8] {
        if self == Self::Lines { b"\n" } else { b"" }
    }

    fn end(self) -> &'static [u8] {
        match self {
            Self::Empty => b"[]\n",
            Self::Begun => b"\n]\n",
            Self::Lines => b"",
        }
    }
}

/// How much a cell should stand out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Look here.
    Notice,
    /// This is dangerous or wrong.
    Alarm,
}

/// One value of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A value with a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }

    /// `value`, or a dash when there is none.
    pub(crate) fn or_dash(value: Option<impl ToString>) -> Self {
        value.map_or_else(|| Self::from("-"), |value| Self::from(value.to_string()))
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn shown(&self, colours: bool) -> String {
        let text = one_line(&self.text);
        let style = match self.tone {
            Tone::Plain => return text,
            _ if !colours => return text,
            Tone::Good => Style::new().green(),
            Tone::Notice => Style::new().yellow(),
            Tone::Alarm => Style::new().red().bold(),
        };
        text.style(style).to_string()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Plain,
        }
    }
}

/// Named values of one thing, in order.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(&'static str, Cell)>);

impl Fields {
    /// No fields yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub(crate) fn add(&mut self, name: &'static str, value: impl Into<Cell>) {
        self.0.push((name, value.into()));
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    look: Look,
}

/// How a table is drawn on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// With lines and headings, folded to the terminal's width.
    Framed,
    /// One line for each row, however long; no headings.
    Aligned,
}

/// A terminal that says it is narrower than this says nothing useful (0 columns
/// are common where nobody set a size): its tables are not folded.
const MIN_TERMINAL_COLUMNS: u16 = 40;

/// Rows of one table at a terminal; what is longer is told in several.
const MAX_TABLE_ROWS: usize = 10_000;

/// A column that folds has at least so many letters on a line: less cannot be read.
const MIN_FOLDED_COLUMNS: usize = 16;

impl Table {
    /// An empty table.
    pub(crate) fn new(headings: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            headings: headings.into_iter().collect(),
            rows: Vec::new(),
            look: Look::Framed,
        }
    }

    /// An empty list in which every row stays on one line.
    pub(crate) fn aligned(columns: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            look: Look::Aligned,
            ..Self::new(columns)
        }
    }

    /// Adds a row with as many cells as there are headings.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn drawn(&self, colours: bool) -> String {
        let width = comfy_table::Table::new().width();
        self.drawn_within(
            width.filter(|width| *width >= MIN_TERMINAL_COLUMNS),
            colours,
        )
    }

    /// Drawn for a terminal so wide; none: as wide as it is. Where it does not fit, only
    /// the widest column folds; where even that does not do, each row is a block of lines.
    fn drawn_within(&self, columns: Option<u16>, colours: bool) -> String {
        if self.look == Look::Aligned {
            let mut table = self.framed(NOTHING, colours);
            table.set_content_arrangement(ContentArrangement::Disabled);
            return table.trim_fmt();
        }
        let mut table = self.framed(UTF8_FULL_CONDENSED, colours);
        table.set_header(self.headings.iter().copied());
        let Some(columns) = columns.map(usize::from) else {
            table.set_content_arrangement(ContentArrangement::Disabled);
            return table.to_string();
        };
        let widths = table.column_max_content_widths();
        let widths: Vec<_> = widths.into_iter().map(usize::from).collect();
        // A line before each column and behind the last, and a space on both sides.
        let natural = widths.iter().map(|width| width + 3).sum::<usize>() + 1;
        if natural <= columns {
            table.set_content_arrangement(ContentArrangement::Disabled);
            return table.to_string();
        }
        let widest = widths.iter().enumerate().max_by_key(|(_, width)| **width);
        let Some((widest, its_width)) = widest else {
            return table.to_string();
        };
        let left = (columns + its_width).saturating_sub(natural);
        let heading = self.headings.get(widest).map_or(0, |name| name.len());
        if left < MIN_FOLDED_COLUMNS.max(heading) {
            return self.blocks(colours);
        }
        for (at, column) in table.column_iter_mut().enumerate() {
            let constraint = if at == widest {
                // Its padding counts.
                let most = u16::try_from(left.saturating_add(2)).unwrap_or(u16::MAX);
                ColumnConstraint::Absolute(Width::Fixed(most))
            } else {
                ColumnConstraint::ContentWidth
            };
            column.set_constraint(constraint);
        }
        table.set_width(u16::try_from(columns).unwrap_or(u16::MAX));
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.to_string()
    }

    fn framed(&self, style: TableStyle, colours: bool) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(style);
        if colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for row in &self.rows {
            table.add_row(row.iter().map(drawn_cell));
        }
        table
    }

    /// Each row as lines of a heading and its value, an empty line between rows.
    fn blocks(&self, colours: bool) -> String {
        let headings = self.headings.iter().map(|name| name.len());
        let width = headings.max().unwrap_or(0);
        let blocks = self.rows.iter().map(|row| {
            let lines = self
                .headings
                .iter()
                .zip(row)
                .map(|(name, cell)| format!("{name:width$}  {}", cell.shown(colours)));
            lines.collect::<Vec<_>>().join("\n")
        });
        blocks.collect::<Vec<_>>().join("\n\n")
    }

    fn plain(&self) -> String {
        self.rows.iter().map(|row| plain_row(row)).collect()
    }
}

fn drawn_cell(cell: &Cell) -> comfy_table::Cell {
    let drawn = comfy_table::Cell::new(one_line(&cell.text));
    match cell.tone {
        Tone::Plain => drawn,
        Tone::Good => drawn.fg(Color::Green),
        Tone::Notice => drawn.fg(Color::Yellow),
        Tone::Alarm => drawn.fg(Color::Red).add_attribute(Attribute::Bold),
    }
}

fn plain_row(row: &[Cell]) -> String {
    let cells: Vec<_> = row.iter().map(|cell| one_line(&cell.text)).collect();
    let mut line = cells.join("\t");
    line.push('\n');
    line
}

/// Control characters; Unicode's line and paragraph separators, which readers of
/// lines cut at; and what reorders or hides text (Unicode TR36, section 3.5).
fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The same JSON with nothing in it that a terminal would act on: what JSON itself leaves
/// as it is stands in texts alone, and may be written as its number there (RFC 8259 s.7).
fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for letter in json.chars() {
        if !letter.is_ascii_control() && is_unprintable(letter) || letter == '\u{7f}' {
            printable.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            printable.push(letter);
        }
    }
    printable
}

/// A value never breaks its line, moves the cursor or changes the terminal:
/// control characters, and those that reorder or cut lines, are shown escaped. Nothing is a dash, so that no column
/// seems to be missing.
fn one_line(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    escaped(text, is_unprintable)
}

/// A text of several lines in which nothing but its line ends and tabs moves the cursor:
/// what somebody typed, or a partner's server said, may be repeated in it.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, |letter| {
        is_unprintable(letter) && !matches!(letter, '\n' | '\t')
    })
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> String {
    if !text.contains(&is_bad) {
        return text.to_owned();
    }
    let shown = |letter: char| match is_bad(letter) {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(form: Form, print: impl FnOnce(&mut Output<Vec<u8>>)) -> String {
        let mut output = Output {
            form,
            writer: Vec::new(),
        };
        print(&mut output);
        String::from_utf8(output.writer).unwrap()
    }

    fn table() -> Table {
        let mut table = Table::new(["NAME", "NETWORK"]);
        table.row([Cell::from("one"), Cell::toned("any", Tone::Alarm)]);
        table
    }

    #[test]
    fn what_was_done_moves_no_cursor_whatever_a_partner_calls_his_files() {
        let sentence = "first: esc\u{1b}]0;P\u{7} is there\nsecond: \u{202e}\u{e0041}";
        let text = printed(Form::Plain, |out| out.done(&1, sentence).unwrap());
        let shown = "first: esc\\u{1b}]0;P\\u{7} is there\nsecond: \\u{202e}\\u{e0041}\n";
        assert_eq!(text, shown);
    }

    #[test]
    fn a_pipe_gets_tab_separated_lines_without_heading() {
        let text = printed(Form::Plain, |out| out.list(&[1], &table(), "none").unwrap());
        assert_eq!(text, "one\tany\n");
    }

    // A partner names files; `\u{202e}` turns the rest of the line around.
    #[test]
    fn no_name_breaks_or_turns_a_line() {
        let mut table = Table::new(["NAME"]);
        table.row([Cell::from("a\u{202e}b\u{2028}c\u{1b}[2Jd\te\u{85}ü")]);
        let text = printed(Form::Plain, |out| out.list(&[1], &table, "none").unwrap());
        assert_eq!(text, "a\\u{202e}b\\u{2028}c\\u{1b}[2Jd\\te\\u{85}ü\n");
    }

    #[test]
    fn no_name_in_json_moves_the_terminal() {
        const NAME: &str = "a\u{202e}b\u{2028}c\u{9b}2Jd\u{85}e\u{7f}ü\u{1b}\n";
        let document = printed(Form::Json, |out| out.done(&[NAME], "").unwrap());
        let mut array = JsonArray::Empty;
        let line = printed(Form::Json, |out| {
            out.stream(&mut array, &NAME, &[]).unwrap();
        });
        for text in [&document, &line] {
            let escaped = r#""a\u202eb\u2028c\u009b2Jd\u0085e\u007fü\u001b\n""#;
            assert!(text.contains(escaped), "{text}");
        }
        let read: Vec<String> = serde_json::from_str(&document).unwrap();
        assert_eq!(read, [NAME]);
    }

    #[test]
    fn an_empty_list_is_no_line_in_a_pipe_and_a_sentence_on_a_terminal() {
        let empty = Table::new(["NAME"]);
        let none: [u8; 0] = [];
        assert_eq!(
            printed(Form::Plain, |out| out.list(&none, &empty, "none").unwrap()),
            ""
        );
        let terminal = Form::Terminal { colours: false };
        assert_eq!(
            printed(terminal, |out| out.list(&none, &empty, "none").unwrap()),
            "none\n"
        );
        assert_eq!(
            printed(Form::Json, |out| out.list(&none, &empty, "none").unwrap()),
            "[]\n"
        );
    }

    #[test]
    fn a_terminal_gets_headings_and_colours_only_when_allowed() {
        let plain = printed(Form::Terminal { colours: false }, |out| {
            out.list(&[1], &table(), "none").unwrap();
        });
        assert!(
            plain.contains("NETWORK") && plain.contains("one"),
            "{plain}"
        );
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        let colourful = printed(Form::Terminal { colours: true }, |out| {
            out.list(&[1], &table(), "none").unwrap();
        });
        assert!(colourful.contains('\u{1b}'), "{colourful:?}");
    }

    fn runs() -> Table {
        let mut table = Table::new(["RUN", "STATE", "BEGUN", "NOTE"]);
        let note = "the partner's server refused the login, and will again until it is told";
        for (state, note) in [("FAILED", note), ("done", "-")] {
            let begun = "2026-11-22T09:00:00Z";
            table.row([
                Cell::from("1234"),
                Cell::from(state),
                Cell::from(begun),
                Cell::from(note),
            ]);
        }
        table
    }

    #[test]
    fn a_table_that_does_not_fit_folds_its_widest_column_and_breaks_no_word_of_others() {
        let wide = runs().drawn_within(None, false);
        assert_eq!(runs().drawn_within(Some(200), false), wide);
        let folded = runs().drawn_within(Some(80), false);
        for line in folded.lines() {
            assert!(line.chars().count() <= 80, "{folded}");
        }
        for whole in ["FAILED", "2026-11-22T09:00:00Z", "NOTE", " 1234 "] {
            assert!(folded.contains(whole), "{whole}: {folded}");
        }
        assert!(folded.lines().count() > wide.lines().count(), "{folded}");
    }

    #[test]
    fn a_table_that_fits_no_way_is_a_block_for_each_row() {
        let blocks = runs().drawn_within(Some(45), false);
        let (first, second) = blocks.split_once("\n\n").unwrap();
        assert!(
            first.starts_with("RUN    1234\nSTATE  FAILED\nBEGUN  2026-"),
            "{blocks}"
        );
        assert_eq!(first.lines().count(), 4, "{blocks}");
        assert!(second.ends_with("NOTE   -"), "{blocks}");
    }

    #[test]
    fn a_list_as_it_comes_is_a_table_at_a_terminal_alone() {
        let mut told = Vec::new();
        for form in [Form::Terminal { colours: false }, Form::Plain, Form::Json] {
            let mut array = JsonArray::Empty;
            let mut table = Table::new(["NAME", "SIZE"]);
            told.push(printed(form, |out| {
                for name in ["a", "b"] {
                    let row = vec![Cell::from(name), Cell::from("1")];
                    out.listed(&mut array, &name, row, &mut table).unwrap();
                }
                out.draw(&table).unwrap();
                out.end_stream(&array, 2, "none").unwrap();
            }));
        }
        assert!(
            told[0].contains("NAME") && told[0].lines().count() >= 4,
            "{}",
            told[0]
        );
        assert_eq!(told[1], "a\t1\nb\t1\n");
        assert_eq!(told[2], "[\n\"a\",\n\"b\"\n]\n");
    }

    #[test]
    fn an_aligned_list_has_one_line_for_each_row() {
        let mut list = Table::aligned(["STATE", "DETAIL"]);
        list.row([Cell::from("ready"), Cell::from("x".repeat(300))]);
        list.row([Cell::from("NOT READY"), Cell::from("y")]);
        let text = printed(Form::Terminal { colours: false }, |out| {
            out.list(&[1], &list, "none").unwrap();
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains("DETAIL"), "{text}");
    }

    #[test]
    fn a_stream_is_one_json_array_or_one_object_a_line() {
        for (mut array, count, expected) in [
            (JsonArray::Empty, 0, "[]\n"),
            (JsonArray::Empty, 2, "[\n0,\n1\n]\n"),
            (JsonArray::Lines, 2, "0\n1\n"),
        ] {
            let text = printed(Form::Json, |out| {
                for number in 0..count {
                    out.stream(&mut array, &number, &[]).unwrap();
                }
                out.end_stream(&array, count, "nothing").unwrap();
            });
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn an_empty_cell_is_a_dash_in_every_form() {
        let mut table = Table::new(["ONE", "TWO", "THREE"]);
        table.row([Cell::from("a"), Cell::from(""), Cell::from("c")]);
        let text = printed(Form::Plain, |out| out.list(&[1], &table, "none").unwrap());
        assert_eq!(text, "a\t-\tc\n");
        let text = printed(Form::Terminal { colours: false }, |out| {
            out.list(&[1], &table, "none").unwrap();
        });
        assert!(text.contains(" a   ┆ -   ┆ c "), "{text}");
    }

    #[test]
    fn control_characters_of_a_name_do_not_reach_the_terminal() {
        let mut table = Table::new(["PATH"]);
        table.row([Cell::from("a\tb\n\u{1b}[31mred")]);
        let text = printed(Form::Plain, |out| out.list(&[1], &table, "none").unwrap());
        assert_eq!(text, "a\\tb\\n\\u{1b}[31mred\n");
    }
}
