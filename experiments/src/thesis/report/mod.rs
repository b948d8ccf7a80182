//! The report as a document without a form; `html` and `markdown` give it one, `content` and `reasons` fill it.

mod content;
mod html;
mod markdown;
mod numbers;
mod reasons;

pub(super) use content::document;
pub(super) use html::html;
pub(super) use markdown::markdown;

/// A report. Texts may have `code` between backticks and no other markup.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    title: String,
    /// What it is about, in a sentence or two.
    lead: String,
    /// From top to bottom.
    blocks: Vec<Block>,
}

/// A part of a [`Document`].
#[derive(Clone, Debug)]
enum Block {
    /// Begins a section.
    Section(String),
    /// Begins a part of a section.
    Part(String),
    /// A paragraph.
    Text(String),
    /// A list.
    Items(Vec<String>),
    Table(Table),
    /// `stem` as in `plots/thesis/STEM.svg`.
    Figure {
        stem: String,
        caption: String,
    },
}

/// Rows under a head.
#[derive(Clone, Debug, Default)]
struct Table {
    head: Vec<Column>,
    /// As many cells as columns each.
    rows: Vec<Vec<Cell>>,
}

/// A column's head; a column of numbers is set to the right.
#[derive(Clone, Debug)]
struct Column {
    text: &'static str,
    numeric: bool,
}

#[derive(Clone, Debug)]
struct Cell {
    text: String,
    tone: Tone,
}

/// How a cell is meant; a reader without colours has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    /// As it is.
    Plain,
    /// A rule was met.
    Good,
    /// It was not.
    Bad,
    /// Not known, or of less weight.
    Muted,
}

impl Table {
    /// Columns of text and columns of numbers.
    fn new(text: &[&'static str], numbers: &[&'static str]) -> Self {
        let mut table = Self::default();
        table.head.extend(text.iter().map(|text| Column { text, numeric: false }));
        table.head.extend(numbers.iter().map(|text| Column { text, numeric: true }));
        table
    }

    /// Adds a column of text at the end.
    fn and(mut self, text: &'static str) -> Self {
        self.head.push(Column { text, numeric: false });
        self
    }

    fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let row: Vec<Cell> = cells.into_iter().collect();
        assert_eq!(row.len(), self.head.len(), "a row has a cell for each column");
        self.rows.push(row);
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Splits a text at its backticks: `(is_code, piece)`.
fn pieces(text: &str) -> impl Iterator<Item = (bool, &str)> {
    text.split('`').enumerate().map(|(place, piece)| (place % 2 == 1, piece))
}

#[cfg(test)]
mod tests;
