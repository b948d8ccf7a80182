//! Enums whose variants each have a name for files and a sentence for people.

/// Makes such an enum: `Variant "name" "A sentence."`, which is the variant's documentation, too.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($variant:ident $name:literal $means:literal)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $(#[doc = $means] $variant,)+ }

        impl $type {
            /// All of them, in their order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Its name in files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn means(self) -> &'static str {
                match self { $(Self::$variant => $means,)+ }
            }

            /// All of them as a table for documents.
            #[must_use]
            pub fn markdown() -> String {
                let rows = Self::ALL.map(|one| format!("| `{}` | {} |\n", one.name(), one.means()));
                format!("| name | meaning |\n|---|---|\n{}", rows.concat())
            }

            /// The one with this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.name() == name)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use named;
