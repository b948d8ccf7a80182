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
fn html_can_be_read_on_a_phone_and_in_the_dark() {
    let sentence = "as long as a sentence is that has to be broken into several lines";
    let mut cards = Table::new(&["what it \"is\""], &["ms"]);
    cards.row([Cell::from(sentence), Cell::from("5")]);
    let mut document = document();
    document.blocks.push(Block::Table(cards));
    let html = html(&document, &BTreeMap::from([("overlay".to_owned(), "<svg>picture</svg>".to_owned())]));
    for part in [
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
        "@media (prefers-color-scheme: dark)",
        // Both scroll in boxes of their own.
        "<div class=\"table\" role=\"region\"",
        "<div class=\"picture\" role=\"region\" aria-label=\"Figure 1\" tabindex=\"0\">\n<svg>",
        // And a table of sentences needs no scrolling, as each cell says what it is.
        &format!("<td data-label=\"what it &quot;is&quot;\">{sentence}</td><td data-label=\"ms\" class=\"number\">5"),
    ] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
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
