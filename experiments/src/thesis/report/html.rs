//! The report as one HTML file: style and figures are in it, nothing is fetched.

use super::{Block, Cell, Document, Table, Tone, pieces};
use std::{collections::BTreeMap, fmt::Write as _};

/// A cell with a text as long as that is no word or number.
const SENTENCE_BYTES: usize = 60;
const STYLE: &str = include_str!("style.css");

/// Renders `document`; `figures` has the SVG of each figure by its stem. A figure that is not there is left out.
#[must_use]
pub(in crate::thesis) fn html(document: &Document, figures: &BTreeMap<String, String>) -> String {
    let (title, lead) = (escape(&document.title), inline(&document.lead));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n\
         <p class=\"lead\">{lead}</p>\n</header>\n"
    );
    contents(&mut out, document);
    out.push_str("<main>\n");
    let mut number = 0;
    for block in &document.blocks {
        let _ = match block {
            Block::Section(text) => writeln!(out, "<h2 id=\"{}\">{}</h2>", anchor(text), inline(text)),
            Block::Part(text) => writeln!(out, "<h3>{}</h3>", inline(text)),
            Block::Text(text) => writeln!(out, "<p>{}</p>", inline(text)),
            Block::Items(items) => {
                let items: String = items.iter().map(|item| format!("<li>{}</li>\n", inline(item))).collect();
                writeln!(out, "<ul>\n{items}</ul>")
            }
            Block::Table(table) => out.write_str(&self::table(table)),
            Block::Figure { stem, caption } => match figures.get(stem) {
                Some(svg) => {
                    number += 1;
                    let caption = format!("<figcaption><b>Figure {number}.</b> {}</figcaption>", inline(caption));
                    let picture = scrolls("picture", &format!("Figure {number}"));
                    writeln!(out, "<figure>\n{picture}\n{svg}\n</div>\n{caption}\n</figure>")
                }
                None => Ok(()),
            },
        };
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn contents(out: &mut String, document: &Document) {
    out.push_str("<nav><ol>\n");
    for block in &document.blocks {
        if let Block::Section(text) = block {
            let _ = writeln!(out, "<li><a href=\"#{}\">{}</a></li>", anchor(text), inline(text));
        }
    }
    out.push_str("</ol></nav>\n");
}

/// Opens a box that scrolls sideways by itself where the page is too narrow, also by the keyboard.
fn scrolls(class: &str, name: &str) -> String {
    format!("<div class=\"{class}\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\">")
}

/// On a narrow page the rows of a table with sentences in it become cards, and other tables scroll.
fn table(table: &Table) -> String {
    let is_sentence = |cell: &Cell| cell.text.len() >= SENTENCE_BYTES;
    let has_sentences = table.rows.iter().flatten().any(is_sentence);
    let class = if has_sentences { "table cards" } else { "table" };
    let mut out = format!("{}<table>\n<thead><tr>", scrolls(class, "Table"));
    for column in &table.head {
        let class = if column.numeric { " class=\"number\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", inline(column.text));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (cell, column) in row.iter().zip(&table.head) {
            let label = if has_sentences { format!(" data-label=\"{}\"", escape(column.text)) } else { String::new() };
            let _ = write!(out, "<td{label}{}>{}</td>", classes(cell, column.numeric), inline(&cell.text));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}

fn classes(cell: &Cell, numeric: bool) -> String {
    let tone = match cell.tone {
        Tone::Plain => None,
        Tone::Good => Some("good"),
        Tone::Bad => Some("bad"),
        Tone::Muted => Some("muted"),
    };
    let names: Vec<&str> = tone.into_iter().chain(numeric.then_some("number")).collect();
    if names.is_empty() { String::new() } else { format!(" class=\"{}\"", names.join(" ")) }
}

fn inline(text: &str) -> String {
    let piece = |(code, piece)| if code { format!("<code>{}</code>", escape(piece)) } else { escape(piece) };
    pieces(text).map(piece).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn anchor(text: &str) -> String {
    let letters = text.to_ascii_lowercase();
    letters.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}
