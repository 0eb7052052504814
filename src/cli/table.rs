//! Tables: aligned columns, cut to the width of a terminal, whole for programs.
//!
//! Invariants: a number is never cut; what is not a terminal gets every character.

use std::io::IsTerminal;

use console::{Alignment, Style, Term};

use super::output;

/// Blanks between columns.
const GAP: usize = 2;
/// No column of text is made narrower than this.
const NARROWEST: usize = 8;

/// Rows under heads.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    head: &'static str,
    is_number: bool,
}

/// One field of a row.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Option<Style>,
}

impl Cell {
    /// Something a person should look at.
    pub(super) fn warning(text: impl Into<Self>) -> Self {
        Self { style: Some(Style::new().yellow()), ..text.into() }
    }

    /// Something that is wrong.
    pub(super) fn bad(text: impl Into<Self>) -> Self {
        Self { style: Some(Style::new().red()), ..text.into() }
    }

    /// A value, or a minus where there is none.
    pub(super) fn or_none(value: Option<impl ToString>) -> Self {
        Self::from(value.map_or_else(|| "-".to_owned(), |value| value.to_string()))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        // A line of a table is one line, whatever a name or value holds.
        let text = text.replace(|c: char| c.is_control(), " ");
        Self { text, style: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::from(text.clone())
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl From<$number> for Cell {
            fn from(number: $number) -> Self {
                Self::from(number.to_string())
            }
        })*
    };
}
numbers!(i16, i32, i64, u32, u64, usize, crate::types::Offset, crate::types::ByteCount);

impl Table {
    /// Columns by their heads; one that begins with `#` holds numbers, to the right.
    pub(super) fn new(heads: &[&'static str]) -> Self {
        let columns = heads.iter().map(|head| Column {
            head: head.trim_start_matches('#'),
            is_number: head.starts_with('#'),
        });
        Self { columns: columns.collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints it; a table without rows prints nothing.
    pub(super) fn print(&self) {
        if self.is_empty() {
            return;
        }
        let width = std::io::stdout()
            .is_terminal()
            .then(|| Term::stdout().size_checked().map(|(_, columns)| usize::from(columns)))
            .flatten();
        for line in self.lines(width) {
            output::line(line);
        }
    }

    fn lines(&self, width: Option<usize>) -> Vec<String> {
        let widths = self.widths(width);
        let bold = Style::new().bold();
        let heads = self
            .columns
            .iter()
            .map(|column| Cell { text: column.head.to_owned(), style: Some(bold.clone()) });
        let heads: Vec<Cell> = heads.collect();
        std::iter::once(&heads).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        let last = self.columns.len().saturating_sub(1);
        let fields = row.iter().zip(&self.columns).zip(widths).enumerate();
        for (at, ((cell, column), width)) in fields {
            let side = if column.is_number { Alignment::Right } else { Alignment::Left };
            let cut = console::truncate_str(&cell.text, *width, "…");
            let width = if at == last && !column.is_number { 0 } else { *width };
            let text = console::pad_str(&cut, width, side, None);
            match &cell.style {
                Some(style) => line.push_str(&style.apply_to(text).to_string()),
                None => line.push_str(&text),
            }
            line.push_str(&" ".repeat(GAP));
        }
        line.trim_end().to_owned()
    }

    /// The widths of the columns: what they need, or less where all of it does not fit.
    fn widths(&self, most: Option<usize>) -> Vec<usize> {
        let needs = |(at, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| console::measure_text_width(&cell.text)).max();
            widest.unwrap_or_default().max(column.head.len())
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(needs).collect();
        let Some(most) = most else { return widths };
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > most {
            let texts = widths.iter_mut().zip(&self.columns).filter(|(_, it)| !it.is_number);
            let widest = texts.map(|(width, _)| width).max_by_key(|width| **width);
            match widest {
                Some(width) if *width > NARROWEST => *width -= 1,
                _ => break,
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "#BYTES", "NOTE"]);
        table.row(["a-topic-with-quite-a-long-name".into(), 12_u64.into(), "-".into()]);
        table.row(["b".into(), 1_234_567_890_u64.into(), "two\nlines".into()]);
        table
    }

    #[test]
    fn what_is_no_terminal_gets_every_character() {
        assert_eq!(
            table().lines(None),
            [
                "NAME                                 BYTES  NOTE",
                "a-topic-with-quite-a-long-name          12  -",
                "b                               1234567890  two lines",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_text_and_never_numbers() {
        let lines = table().lines(Some(40));
        assert_eq!(lines[1], "a-topic-with-qui…          12  -");
        assert_eq!(lines[2], "b                  1234567890  two lines");
        assert!(lines.iter().all(|line| console::measure_text_width(line) <= 40), "{lines:?}");
    }
}
