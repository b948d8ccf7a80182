//! Where specs are: the built-in ones, and folders of one's own.

use super::{
    Spec,
    error::{SpecError, hint, suggestions},
    load::load,
};
use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

/// Largest file that is read as a spec; real ones have some 2 KB.
const SPEC_BYTES_MAX: u64 = 1 << 20;
/// What a built-in spec's file is called in messages, away from the repository.
const BUILT_IN: &str = "(built in)";

/// Name and text of each built-in spec.
pub type BuiltIn = &'static [(&'static str, &'static str)];

/// The repository that this program was built from, if it is there and used from inside.
#[must_use]
pub fn repository() -> Option<&'static Path> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let here = std::env::current_dir().ok()?;
    (here.starts_with(repository.canonicalize().ok()?) || here.starts_with(repository)).then_some(repository)
}

/// Where specs are looked for. One in a folder of one's own may extend any of that folder and any built-in one.
#[derive(Clone, Debug)]
pub struct Library {
    own: Option<PathBuf>,
    built_in: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Folder(PathBuf),
    Program(BuiltIn),
}

/// A spec's text and where it is from.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Whether it is from the folder of one's own.
    pub(super) own: bool,
}

/// A spec that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Whether `experiments check` runs it.
    pub gate: bool,
}

impl Library {
    /// The built-in specs as they lie in the repository.
    #[must_use]
    pub fn repository() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs");
        Self { own: None, built_in: Source::Folder(folder) }
    }

    /// The built-in specs: from the repository inside it, else those that the program has with it.
    #[must_use]
    pub fn built_in(compiled: BuiltIn) -> Self {
        match repository() {
            Some(_) => Self::repository(),
            None => Self { own: None, built_in: Source::Program(compiled) },
        }
    }

    /// The same with a folder of one's own, of which the specs are. The folder of the built-in ones is none.
    #[must_use]
    pub fn with_folder(mut self, folder: &Path) -> Self {
        let same = match &self.built_in {
            Source::Folder(built_in) => built_in.canonicalize().ok().zip(folder.canonicalize().ok()),
            Source::Program(_) => None,
        };
        let is_built_in = same.is_some_and(|(built_in, folder)| built_in == folder);
        self.own = (!is_built_in).then(|| folder.to_owned());
        self
    }

    /// Whether its specs are the built-in ones.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.own.is_none()
    }

    /// The folder that its specs are in; `None`: in the program.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match (&self.own, &self.built_in) {
            (Some(folder), _) | (None, Source::Folder(folder)) => Some(folder),
            (None, Source::Program(_)) => None,
        }
    }

    /// The same, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        self.folder().map_or("this program".to_owned(), |folder| folder.display().to_string())
    }

    /// The names of its specs, abstract ones too, in order.
    pub(super) fn names(&self) -> Result<Vec<String>, SpecError> {
        match (&self.own, &self.built_in) {
            (Some(folder), _) | (None, Source::Folder(folder)) => names_in(folder),
            (None, Source::Program(compiled)) => Ok(compiled.iter().map(|(name, _)| (*name).to_owned()).collect()),
        }
    }

    /// What `name` says; `None` if there is no such spec. `for_base_of`: the spec that extends it, if one does. One of
    /// one's own that has the name of what it extends means the built-in one.
    pub(super) fn read(&self, name: &str, for_base_of: Option<&Text>) -> Result<Option<Text>, SpecError> {
        // A name is no path: `../a` would be somebody else's file.
        if name.contains(['/', '\\']) {
            return Ok(None);
        }
        let skips_own = for_base_of.is_some_and(|text| !text.own || text.is_named(name));
        if let (Some(folder), false) = (&self.own, skips_own) {
            let found = read_from(folder, name)?;
            if found.is_some() || for_base_of.is_none() {
                return Ok(found.map(|(path, text)| Text { path, text, own: true }));
            }
        }
        Ok(match &self.built_in {
            Source::Folder(folder) => read_from(folder, name)?.map(|(path, text)| Text { path, text, own: false }),
            Source::Program(compiled) => compiled.iter().find(|(known, _)| *known == name).map(|(_, text)| Text {
                path: PathBuf::from(format!("{name}.toml {BUILT_IN}")),
                text: (*text).to_owned(),
                own: false,
            }),
        })
    }

    /// The error for a spec that is not there.
    pub(super) fn unknown(&self, name: &str) -> SpecError {
        let runnable = self.list().0.into_iter().map(|listed| listed.name);
        let candidates: Vec<String> = runnable.collect();
        let suggestions = suggestions(name, candidates.iter().map(String::as_str));
        let is_built_in = !self.is_built_in() && matches!(self.read_built_in(name), Ok(Some(_)));
        let file = format!("{name}.toml");
        let note = match () {
            () if is_built_in => format!("; the built-in `{name}` can be run without --specs"),
            () if Path::new(&file).is_file() => format!("; the file in this folder is run as `{file}`"),
            () => String::new(),
        };
        SpecError::Unknown { name: name.to_owned(), place: self.place(), suggestions, note }
    }

    /// The names that a spec may extend, the nearest one to `name` as a hint.
    pub(super) fn base_hint(&self, name: &str) -> String {
        let built_in = Self { own: None, built_in: self.built_in.clone() };
        let mut known = self.names().unwrap_or_default();
        known.extend(built_in.names().unwrap_or_default());
        hint(name, known.iter().map(String::as_str))
    }

    fn read_built_in(&self, name: &str) -> Result<Option<Text>, SpecError> {
        Self { own: None, built_in: self.built_in.clone() }.read(name, None)
    }

    /// The spec `name`, as it is.
    ///
    /// # Errors
    /// Those of [`load`].
    pub fn load(&self, name: &str) -> Result<Spec, SpecError> {
        load(self, name, &[])
    }

    /// All its specs that can be run, by name; and what is wrong with those that can't be read.
    #[must_use]
    pub fn list(&self) -> (Vec<Listed>, Vec<SpecError>) {
        let (mut listed, mut broken) = (Vec::new(), Vec::new());
        let names = self.names().unwrap_or_else(|error| {
            broken.push(error);
            Vec::new()
        });
        for name in names {
            match self.load(&name) {
                Ok(spec) => listed.push(Listed { name, title: spec.title, gate: spec.gate }),
                Err(SpecError::Abstract(_)) => {}
                Err(error) => broken.push(error),
            }
        }
        (listed, broken)
    }

    /// All its specs that can be run, by name.
    ///
    /// # Errors
    /// When one of them can't be read.
    pub fn list_all(&self) -> Result<Vec<Listed>, SpecError> {
        let (listed, broken) = self.list();
        broken.into_iter().next().map_or(Ok(listed), Err)
    }
}

impl Text {
    fn is_named(&self, name: &str) -> bool {
        self.path.file_stem().is_some_and(|stem| stem == name)
    }
}

fn names_in(folder: &Path) -> Result<Vec<String>, SpecError> {
    let unreadable = |error| SpecError::Unreadable { path: folder.to_owned(), error };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The path and the text; `None` if there is no such file.
fn read_from(folder: &Path, name: &str) -> Result<Option<(PathBuf, String)>, SpecError> {
    let path = folder.join(format!("{name}.toml"));
    let file = match File::open(&path) {
        Ok(file) => file,
        // A folder that is not there is another mistake than a file.
        Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(SpecError::Unreadable { path: folder.to_owned(), error });
        }
        Err(error) => return Err(SpecError::Unreadable { path, error }),
    };
    let text = read_all(file, &path)?;
    Ok(Some((path, text)))
}

/// The text of a file that a spec names.
pub(super) fn read_file(path: &Path) -> Result<String, SpecError> {
    let file = File::open(path).map_err(|error| SpecError::Unreadable { path: path.to_owned(), error })?;
    read_all(file, path)
}

fn read_all(file: File, path: &Path) -> Result<String, SpecError> {
    let mut text = String::new();
    match file.take(SPEC_BYTES_MAX + 1).read_to_string(&mut text) {
        Ok(bytes) if bytes as u64 > SPEC_BYTES_MAX => {
            let reason = format!("has more than {SPEC_BYTES_MAX} bytes; that is no spec");
            Err(SpecError::Wrong { at: path.display().to_string(), reason })
        }
        Ok(_) => Ok(text),
        Err(error) => Err(SpecError::Unreadable { path: path.to_owned(), error }),
    }
}
