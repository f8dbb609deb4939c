//! A run folder: made new or found again, and held by one process at a time.

use super::trainer::files;
use super::weights::UNFINISHED;
use crate::{Error, Result};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Locked by whoever works on the run. The system unlocks it for a process that was killed; the file alone means nothing.
const LOCK: &str = ".lock";

/// A run folder that belongs to this process for as long as this lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// `None` where the file system knows no locks.
    lock: Option<File>,
    made: bool,
}

impl RunFolder {
    /// Whether a new run could begin in this folder: it is not there, or empty. Nothing is made.
    ///
    /// # Errors
    /// Says what is there.
    pub fn check_free(path: &Path) -> Result<()> {
        match std::fs::read_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                Err(Error::file(path, "cannot be made: a file of that name, or above it, is in the way"))
            }
            Err(e) => Err(Error::file(path, format!("cannot be read: {e}"))),
            Ok(entries) => {
                // What a killed process leaves behind is not a run.
                let of_run = |name: &str| name != LOCK && !name.starts_with(UNFINISHED);
                match entries.flatten().any(|entry| of_run(&entry.file_name().to_string_lossy())) {
                    false => Ok(()),
                    true => Err(Error::file(
                        path,
                        "is not empty; name another folder (setting `out`), or go on with setting `resume`",
                    )),
                }
            }
        }
    }

    /// Makes a folder for a new run, or takes an empty one.
    ///
    /// # Errors
    /// Where it cannot be made, is not empty, or another process is at work in it.
    pub fn create(path: &Path) -> Result<Self> {
        Self::check_free(path)?;
        let unmade = |e: std::io::Error| Error::file(path, format!("cannot be made: {e}"));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(unmade)?;
        }
        let made = match std::fs::create_dir(path) {
            Ok(()) => true,
            Err(_) if path.is_dir() => false,
            Err(e) => return Err(unmade(e)),
        };
        let folder = Self::hold(path, made)?;
        // Somebody else may have been here since.
        Self::check_free(path)?;
        folder.clean();
        Ok(folder)
    }

    /// Makes the first folder of these names that is not there yet.
    ///
    /// # Errors
    /// Where none can be made.
    pub fn create_first(names: impl Iterator<Item = PathBuf>) -> Result<Self> {
        for path in names {
            let unmade = |e: std::io::Error| Error::file(&path, format!("cannot be made: {e}"));
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(unmade)?;
            }
            match std::fs::create_dir(&path) {
                Ok(()) => return Self::hold(&path, true),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(unmade(e)),
            }
        }
        Err(Error::Data("no name is left for a run folder; give one (setting `out`)".into()))
    }

    /// The folder of a run to go on with.
    ///
    /// # Errors
    /// Where there is none, or another process is at work in it.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Err(Error::file(path, "no such run folder"));
        }
        if let Err(e) = std::fs::metadata(path.join(files::CONFIG)) {
            return Err(Error::file(path, format!("is not a run folder: {} cannot be read: {e}", files::CONFIG)));
        }
        let folder = Self::hold(path, false)?;
        folder.clean();
        Ok(folder)
    }

    /// A folder that another process works on for this one, which leaves it alone.
    pub fn of_another(path: &Path) -> Self {
        Self { path: path.to_path_buf(), lock: None, made: false }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn hold(path: &Path, made: bool) -> Result<Self> {
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(|e| Error::file(path, format!("cannot be written to: {e}")))?;
        let lock = match lock.try_lock() {
            Ok(()) => Some(lock),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::file(
                    path,
                    "another humdinger is at work on this run; wait for it, or stop it first",
                ));
            }
            Err(TryLockError::Error(_)) => None,
        };
        Ok(Self { path: path.to_path_buf(), lock, made })
    }

    /// Removes what killed processes left half-written.
    fn clean(&self) {
        let of = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in of(&self.path).flat_map(|path| if path.is_dir() { of(&path).collect() } else { vec![path] }) {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED)) {
                drop(std::fs::remove_file(path));
            }
        }
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if self.lock.is_some() {
            drop(std::fs::remove_file(self.path.join(LOCK)));
        }
        if self.made {
            // Only an empty folder can be removed: one of a run that came to nothing.
            drop(std::fs::remove_dir(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_process() -> Result<()> {
        let parent = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = parent.path().join("deeper/run");
        let first = RunFolder::create(&path)?;
        // Locks are of open files, so that a second one in the same process stands for another process.
        assert!(RunFolder::create(&path).unwrap_err().to_string().contains("at work"));
        std::fs::write(path.join(files::CONFIG), "").map_err(|e| Error::file(&path, e))?;
        assert!(RunFolder::open(&path).unwrap_err().to_string().contains("at work"));
        drop(first);
        assert!(!path.join(LOCK).exists());
        assert!(RunFolder::create(&path).unwrap_err().to_string().contains("not empty"));
        let half = path.join(format!("{UNFINISHED}x"));
        std::fs::write(&half, "").map_err(|e| Error::file(&path, e))?;
        drop(RunFolder::open(&path)?);
        assert!(!half.exists() && path.join(files::CONFIG).exists());
        Ok(())
    }

    #[test]
    fn a_run_that_came_to_nothing_leaves_nothing() -> Result<()> {
        let parent = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = parent.path().join("run");
        drop(RunFolder::create(&path)?);
        assert!(!path.exists());
        let names = || (1..).map(|i| parent.path().join(format!("run-{i}")));
        let (one, two) = (RunFolder::create_first(names())?, RunFolder::create_first(names())?);
        assert_ne!(one.path(), two.path());
        let file = parent.path().join("file");
        std::fs::write(&file, "").map_err(|e| Error::file(&path, e))?;
        assert!(RunFolder::create(&file).unwrap_err().to_string().contains("in the way"));
        assert!(RunFolder::open(&parent.path().join("none")).unwrap_err().to_string().contains("no such run folder"));
        Ok(())
    }
}
