use super::*;
use std::collections::{BTreeMap, BTreeSet};

fn document() -> Document {
    let mut table = Table::new(&["what"], &["ms"]);
    table.row([Cell::from("a | b <i>"), Cell { text: "1 & 2".into(), tone: Tone::Bad }]);
    Document {
        title: "A <title>".into(),
        lead: "of `custom_1k_1`".into(),
        blocks: vec![
            Block::Section("First section".into()),
            Block::Text("x_y & `a_b < c`".into()),
            Block::Items(vec!["one".into()]),
            Block::Table(table),
            Block::Figure { stem: "overlay".into(), caption: "what `is` seen".into() },
            Block::Figure { stem: "missing".into(), caption: "nothing".into() },
        ],
    }
}

#[test]
fn html_is_escaped_and_has_its_figures_inside() {
    let figures = BTreeMap::from([("overlay".to_owned(), "<svg>picture</svg>".to_owned())]);
    let html = html(&document(), &figures);
    for part in [
        "<h1>A &lt;title&gt;</h1>",
        "of <code>custom_1k_1</code>",
        "<a href=\"#first-section\">First section</a>",
        "x_y &amp; <code>a_b &lt; c</code>",
        "<td>a | b &lt;i&gt;</td><td class=\"bad number\">1 &amp; 2</td>",
        "<svg>picture</svg>",
        "<b>Figure 1.</b> what <code>is</code> seen",
    ] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
    assert!(!html.contains("nothing") && !html.contains("http"), "a figure that is missing, or something to fetch");
}

#[test]
fn markdown_keeps_its_tables_and_links_its_figures() {
    let stem = "overlay".to_owned();
    let markdown = markdown(&document(), &BTreeSet::from([&stem]), "../plots");
    for part in ["## First section", "x\\_y & `a_b < c`", "| a \\| b &lt;i> | 1 & 2 |", "](../plots/overlay.svg)"] {
        assert!(markdown.contains(part), "{part} is not in {markdown}");
    }
    assert!(!markdown.contains("nothing"), "{markdown}");
}
