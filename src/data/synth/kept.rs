//! Recordings that were made once and are kept: a list of checksums beside their folder tells whether they still are what was made.

use super::{Options, Plan, Singer, Tune, plan_of, render, write_tunes};
use crate::audio::{decode::is_sound_file, wav};
use crate::data::dataset::progress_bar;
use crate::error::counted;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Checksums by the files' names.
type Sums = BTreeMap<String, u64>;

/// Has the data set of these options in `folder`: makes it where it is not there yet, and of one that was made before, what is
/// missing or no longer as it was made. What is done is told.
///
/// # Errors
/// Where it cannot be written, or other recordings are among its own.
pub fn keep(folder: &Path, options: &Options, say: &dyn Fn(&str)) -> Result<()> {
    keep_all(folder, &options.chosen_tunes()?, options, "built-in", say)
}

/// The same with these tunes instead of those that `options` name; see [`write_tunes`].
///
/// # Errors
/// As [`keep`].
pub fn keep_tunes(folder: &Path, chosen: &[&Tune], options: &Options, say: &dyn Fn(&str)) -> Result<()> {
    keep_all(folder, chosen, options, "synthetic", say)
}

/// The same; `whose` says in messages what kind of recordings they are.
fn keep_all(folder: &Path, chosen: &[&Tune], options: &Options, whose: &str, say: &dyn Fn(&str)) -> Result<()> {
    let plans = plan_of(chosen, options)?;
    let there = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if !there {
        say(&format!("making the {whose} recordings in {}", folder.display()));
        match write_tunes(folder, chosen, options, true) {
            // Another run may have been faster.
            Err(_) if folder.is_dir() => {}
            other => drop(other?),
        }
    }
    foreign(folder, &plans, whose)?;
    let listed = read_list(&list_of(folder));
    let found: Vec<Option<u64>> = plans.par_iter().map(|plan| sum(&folder.join(plan.file_name()))).collect();
    let whole = |(plan, found): &(&Plan<'_>, &Option<u64>)| match &listed {
        Some(sums) => found.is_some() && sums.get(&plan.file_name()) == found.as_ref(),
        // Just made, or by a program that kept no list: then nothing tells.
        None => !there && found.is_some(),
    };
    let pairs: Vec<_> = plans.iter().zip(&found).collect();
    let broken: Vec<&Plan<'_>> = pairs.iter().filter(|pair| !whole(pair)).map(|(plan, _)| *plan).collect();
    if listed.is_some() && broken.is_empty() {
        return Ok(());
    }
    if !broken.is_empty() {
        let (count, place) = (counted(plans.len(), &format!("{whose} recording")), folder.display());
        let what = match &listed {
            Some(_) => format!("{} of the {count} in {place} are missing or were changed", broken.len()),
            None => format!("nothing tells whether the {count} in {place} are whole"),
        };
        say(&format!("{what}; made again"));
        let bar = progress_bar(broken.len(), "making recordings", true);
        let made = broken.par_iter().try_for_each(|plan| {
            let recording = render(plan.tune, &Singer::new(options.seed, plan.person), plan.style, plan.take, options);
            bar.inc(1);
            replace(folder, &plan.file_name(), &wav::encode(&recording, options.rate)?)
        });
        bar.finish_and_clear();
        made?;
    }
    let sums: Option<Sums> =
        plans.par_iter().map(|plan| Some((plan.file_name(), sum(&folder.join(plan.file_name()))?))).collect();
    let sums = sums.ok_or_else(|| Error::file(folder, "its recordings cannot be read"))?;
    write_list(&list_of(folder), &sums)
}

/// Beside the folder, so that it is none of the data set's files.
fn list_of(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(".xxh3");
    folder.with_file_name(name)
}

fn sum(path: &Path) -> Option<u64> {
    std::fs::read(path).ok().map(|bytes| xxh3_64(&bytes))
}

/// Recordings of somebody else's would be trained on.
fn foreign(folder: &Path, plans: &[Plan<'_>], whose: &str) -> Result<()> {
    let own: BTreeSet<String> = plans.iter().map(Plan::file_name).collect();
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, format!("cannot be read: {e}")))?;
    let mut names = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir() || is_sound_file(path));
    match names.find(|path| path.file_name().is_none_or(|name| !own.contains(&*name.to_string_lossy()))) {
        Some(path) => {
            let detail = format!("is none of the {whose} recordings, among which it lies; move it elsewhere");
            Err(Error::file(path, detail))
        }
        None => Ok(()),
    }
}

fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let failed = |e: std::io::Error| Error::file(&path, format!("cannot be written: {e}"));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    // Temporary files are for their user alone, and these need not be.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    }
    if path.is_dir() {
        return Err(Error::file(&path, "is a folder where a recording should be; remove it"));
    }
    file.persist(&path).map(drop).map_err(|e| failed(e.error))
}

/// One line for each file: 16 hexadecimal digits, a space, the name.
fn write_list(path: &Path, sums: &Sums) -> Result<()> {
    let text: String = sums.iter().map(|(name, sum)| format!("{sum:016x} {name}\n")).collect();
    let (folder, name) = (path.parent().unwrap_or(Path::new(".")), path.file_name().unwrap_or_default());
    replace(folder, &name.to_string_lossy(), text.as_bytes())
}

fn read_list(path: &Path) -> Option<Sums> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = |line: &str| {
        let (sum, name) = line.split_once(' ')?;
        Some((name.to_string(), u64::from_str_radix(sum, 16).ok()?))
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn what_is_no_longer_as_it_was_made_is_made_again() -> Result<()> {
        let parent = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let folder = parent.path().join("kept");
        let failed = |e: std::io::Error| Error::file(&folder, e.to_string());
        let options = Options {
            singers: 2,
            seconds: 1.0,
            tunes: vec!["Twinkle".into(), "Greensleeves".into()],
            ..Options::default()
        };
        let told = RefCell::new(Vec::new());
        let keep = || {
            told.borrow_mut().clear();
            keep(&folder, &options, &|text| told.borrow_mut().push(text.to_string()))
        };
        let contents = || -> BTreeMap<PathBuf, Vec<u8>> {
            let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            files.map(|path| (path.clone(), std::fs::read(&path).unwrap_or_default())).collect()
        };
        keep()?;
        let made = contents();
        assert!(made.len() >= 4 && told.borrow()[0].starts_with("making"), "{told:?}");
        keep()?;
        assert!(told.borrow().is_empty(), "{told:?}");

        let names: Vec<&PathBuf> = made.keys().collect();
        std::fs::remove_file(names[0]).map_err(failed)?;
        std::fs::write(names[1], &made[names[1]][..100]).map_err(failed)?;
        let mut changed = made[names[2]].clone();
        changed[1000] ^= 1;
        std::fs::write(names[2], changed).map_err(failed)?;
        keep()?;
        assert!(told.borrow()[0].starts_with("3 of the "), "{told:?}");
        assert_eq!(contents(), made);

        // Of a program that kept no list, or of a list that is damaged.
        for damage in [None, Some("no list\n")] {
            match damage {
                None => std::fs::remove_file(list_of(&folder)).map_err(failed)?,
                Some(text) => std::fs::write(list_of(&folder), text).map_err(failed)?,
            }
            std::fs::write(names[1], b"other").map_err(failed)?;
            keep()?;
            assert_eq!((told.borrow().len(), contents() == made), (1, true), "{told:?}");
            keep()?;
            assert!(told.borrow().is_empty(), "{told:?}");
        }
        std::fs::write(folder.join("mine.wav"), b"x").map_err(failed)?;
        assert!(keep().is_err_and(|error| error.to_string().contains("mine.wav")));
        Ok(())
    }
}
