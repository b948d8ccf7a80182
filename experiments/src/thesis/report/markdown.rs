//! The report as Markdown, with links to the figures' files.

use super::{Block, Document, Table, pieces};
use std::collections::BTreeSet;

/// Renders `document`. The figures that are there, by stem, are linked as `PLOTS/STEM.svg`.
#[must_use]
pub(in crate::thesis) fn markdown(document: &Document, figures: &BTreeSet<&String>, plots: &str) -> String {
    let mut parts = vec![format!("# {}\n", document.title), format!("{}\n", inline(&document.lead))];
    for block in &document.blocks {
        parts.push(match block {
            Block::Section(text) => format!("## {}\n", inline(text)),
            Block::Part(text) => format!("### {}\n", inline(text)),
            Block::Text(text) => format!("{}\n", inline(text)),
            Block::Items(items) => items.iter().map(|item| format!("- {}\n", inline(item))).collect(),
            Block::Table(table) => self::table(table),
            Block::Figure { stem, caption } if figures.contains(stem) => {
                let alt = caption.replace(['`', '[', ']'], "");
                format!("![{alt}]({plots}/{stem}.svg)\n\n*{}*\n", inline(caption))
            }
            Block::Figure { .. } => continue,
        });
    }
    parts.join("\n")
}

fn table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = line(table.head.iter().map(|column| column.text.to_owned()).collect());
    let rule = line(table.head.iter().map(|column| if column.numeric { "---:" } else { "---" }.to_owned()).collect());
    let rows =
        table.rows.iter().map(|row| line(row.iter().map(|cell| inline(&cell.text).replace('|', "\\|")).collect()));
    [head, rule].into_iter().chain(rows).collect()
}

/// Keeps code as it is and takes the meaning from characters that Markdown would read.
fn inline(text: &str) -> String {
    let piece = |(code, piece): (bool, &str)| {
        if code { format!("`{piece}`") } else { piece.replace('*', "\\*").replace('_', "\\_").replace('<', "&lt;") }
    };
    pieces(text).map(piece).collect()
}
