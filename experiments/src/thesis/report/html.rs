//! The report as one HTML file: style and figures are in it, nothing is fetched.

use super::{Block, Cell, Document, Table, Tone, pieces};
use std::{collections::BTreeMap, fmt::Write as _};

const STYLE: &str = include_str!("style.css");

/// Renders `document`; `figures` has the SVG of each figure by its stem. A figure that is not there is left out.
#[must_use]
pub(in crate::thesis) fn html(document: &Document, figures: &BTreeMap<String, String>) -> String {
    let (title, lead) = (escape(&document.title), inline(&document.lead));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
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
                    writeln!(out, "<figure>\n{svg}\n{caption}\n</figure>")
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

fn table(table: &Table) -> String {
    let mut out = String::from("<div class=\"table\"><table>\n<thead><tr>");
    for column in &table.head {
        let class = if column.numeric { " class=\"number\"" } else { "" };
        let _ = write!(out, "<th{class}>{}</th>", inline(column.text));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (cell, column) in row.iter().zip(&table.head) {
            let _ = write!(out, "<td{}>{}</td>", classes(cell, column.numeric), inline(&cell.text));
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
