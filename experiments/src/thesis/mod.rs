//! What the thesis published.

mod reference;

pub use reference::{Bar, Legend, Published, Reference, reference};
