//! Training and validation: which clips are on which side.

use std::collections::BTreeMap;

use super::alike::equal_sounds;
use super::dataset::{Clip, Dataset};
use super::draws::{Purpose, Stream};
use super::names::names;
use crate::{Error, Result};

/// Names of columns that say which recordings validate, compared without case and signs.
pub(super) const SPLIT_COLUMNS: &[&str] = &["split", "subset", "set", "partition", "isvalid", "isvalidation", "istest"];

pub(super) fn column_key(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What decides the side of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitBy {
    /// All clips of a person are on one side, so that validation is on people who are not in training.
    Person,
    /// The name in its file name, as in `anna-1.wav`: see [`names`]. The same as by person where the names are people's.
    Name,
    /// At random within each song.
    Random,
    /// A column of the CSV, whose values begin with `train`, or with `test`, `val`, `dev` or `eval`; of a column like `is_valid` they
    /// are true or false.
    Column(String),
}

impl std::str::FromStr for SplitBy {
    type Err = Error;

    /// `person`, `name`, `random` or `column:NAME`.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "person" => Ok(Self::Person),
            None if text == "name" => Ok(Self::Name),
            None if text == "random" => Ok(Self::Random),
            Some(("column", name)) if !name.is_empty() => Ok(Self::Column(name.to_string())),
            _ => Err(Error::usage("split", format!("`{text}` is none of person, name, random and column:NAME"))),
        }
    }
}

impl std::fmt::Display for SplitBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person => f.write_str("person"),
            Self::Name => f.write_str("name"),
            Self::Random => f.write_str("random"),
            Self::Column(name) => write!(f, "column:{name}"),
        }
    }
}

impl SplitBy {
    /// The default for a data set: a column that says so and leaves every song on both sides, else as
    /// [`SplitBy::default_without_columns`].
    pub fn default_for(data: &Dataset) -> Self {
        let columns = data.clips.first().into_iter().flat_map(|clip| clip.columns.keys());
        let mut columns = columns.filter(|name| SPLIT_COLUMNS.contains(&column_key(name).as_str()));
        let usable = |name: &&String| data.classes.len() > 1 && by_column(data, name).is_ok();
        columns.find(usable).map_or_else(|| Self::default_without_columns(data), |name| Self::Column(name.clone()))
    }

    /// By person where every clip's person is known and there are at least two, else at random.
    pub fn default_without_columns(data: &Dataset) -> Self {
        let mut people: Vec<Option<&str>> = data.clips.iter().map(|c| c.person.as_deref()).collect();
        people.sort_unstable();
        people.dedup();
        if people.len() >= 2 && people.iter().all(Option::is_some) { Self::Person } else { Self::Random }
    }
}

/// Indices into [`Dataset::clips`], ascending on each side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Clips to train on.
    pub train: Vec<usize>,
    /// Clips to validate on; empty when nothing validates.
    pub validation: Vec<usize>,
}

/// Splits a data set; the same seed gives the same split. `fraction` of the clips (nearly) validate; with 0 all train.
/// `fraction` is not used by [`SplitBy::Column`].
///
/// # Errors
/// When fewer than two songs are there, when `fraction` is not in 0..1, when persons, names or the column are not known, or when a song
/// would have no clip on one of the two sides.
pub fn split(data: &Dataset, by: &SplitBy, fraction: f64, seed: u64) -> Result<Split> {
    data.require_classes(2)?;
    if !(0.0..1.0).contains(&fraction) {
        return Err(Error::usage("val_fraction", format!("{fraction} is not in 0 to 1 (1 excluded)")));
    }
    if let SplitBy::Column(name) = by {
        return by_column(data, name);
    }
    if fraction == 0.0 {
        return Ok(Split { train: (0..data.clips.len()).collect(), validation: vec![] });
    }
    let groups = groups(data, by, seed)?;
    let wanted: Vec<f64> = per_class(data, 0..data.clips.len()).iter().map(|&n| n as f64 * fraction).collect();
    let sides = assign(data, &groups, &[wanted]);
    finish(data, &groups, &sides, 0, by)
}

/// Splits a data set `count` times so that every clip validates exactly once; the same seed gives the same folds.
///
/// # Errors
/// As [`split`]; also when there are fewer than `count` persons, names or clips of a song, when `count` is below 2, and where a
/// column has another number of values than `count`: clips of each value validate once, and those without one always train.
pub fn folds(data: &Dataset, by: &SplitBy, count: usize, seed: u64) -> Result<Vec<Split>> {
    data.require_classes(2)?;
    if count < 2 || count > data.clips.len() {
        let clips = data.clips.len();
        return Err(Error::usage("folds", format!("{count} folds of {clips} clips; at least 2, at most one per clip")));
    }
    if let SplitBy::Column(name) = by {
        return folds_by_column(data, name, count);
    }
    let groups = groups(data, by, seed)?;
    if groups.len() < count {
        let what = if *by == SplitBy::Name { "names" } else { "persons" };
        return Err(Error::usage("folds", format!("{count} folds, but only {} {what}", groups.len())));
    }
    let share = |&n: &usize| n as f64 / count as f64;
    let wanted: Vec<f64> = per_class(data, 0..data.clips.len()).iter().map(share).collect();
    // The last fold takes whatever the others leave.
    let sides = assign(data, &groups, &vec![wanted; count]);
    (0..count).map(|fold| finish(data, &groups, &sides, fold, by)).collect()
}

/// Clips that must stay together, in random order.
fn groups(data: &Dataset, by: &SplitBy, seed: u64) -> Result<Vec<Vec<usize>>> {
    let mut stream = Stream::new(Purpose::Split, seed, 0, 0);
    let mut groups: Vec<Vec<usize>> = match by {
        SplitBy::Person => {
            let mut people = BTreeMap::<&str, Vec<usize>>::new();
            for (i, clip) in data.clips.iter().enumerate() {
                let Some(person) = clip.person.as_deref() else {
                    let name = if names(data).is_ok() { ", or setting `split` = `name` if its name tells" } else { "" };
                    return Err(Error::usage(
                        "split",
                        format!("`person`: who sings {} is not known; use setting `split` = `random`{name}", clip.id),
                    ));
                };
                people.entry(person).or_default().push(i);
            }
            if people.len() < 2 {
                return Err(Error::usage(
                    "split",
                    "`person`: all clips are of one person; use setting `split` = `random`".to_string(),
                ));
            }
            people.into_values().collect()
        }
        SplitBy::Name => {
            let names = names(data).map_err(|why| {
                Error::usage("split", format!("`name`: {why}; use another setting `split`, such as `random`"))
            })?;
            let mut groups = BTreeMap::<String, Vec<usize>>::new();
            names.into_iter().enumerate().for_each(|(i, name)| groups.entry(name).or_default().push(i));
            groups.into_values().collect()
        }
        _ => (0..data.clips.len()).map(|i| vec![i]).collect(),
    };
    equal_sounds(&data.clips).iter().for_each(|equal| keep_together(&mut groups, equal));
    overlapping(data).iter().for_each(|shared| keep_together(&mut groups, shared));
    stream.shuffle(&mut groups);
    // Large groups first: what is left to place at the end is small enough to fill the gaps.
    groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
    Ok(groups)
}

/// Joins groups that share some of these clips, which are in ascending order and hold the same sound: known from training, it would be no
/// test.
fn keep_together(groups: &mut Vec<Vec<usize>>, clips: &[usize]) {
    let shares = |group: &Vec<usize>| group.iter().any(|i| clips.binary_search(i).is_ok());
    let (mut joined, others): (Vec<_>, Vec<_>) = std::mem::take(groups).into_iter().partition(shares);
    joined = vec![joined.concat()];
    joined[0].sort_unstable();
    *groups = others;
    groups.append(&mut joined);
}

/// Pairs of passages of one recording that share a moment.
fn overlapping(data: &Dataset) -> Vec<[usize; 2]> {
    let mut of_file = BTreeMap::<&std::path::Path, Vec<usize>>::new();
    for (i, clip) in data.clips.iter().enumerate().filter(|(_, clip)| clip.stretch.is_some()) {
        of_file.entry(&clip.path).or_default().push(i);
    }
    let overlap = |a: usize, b: usize| match (data.clips[a].stretch, data.clips[b].stretch) {
        (Some(a), Some(b)) => a.overlaps(&b),
        _ => false,
    };
    let pairs = of_file
        .values()
        .flat_map(|clips| clips.iter().enumerate().flat_map(|(i, &a)| clips[i + 1..].iter().map(move |&b| [a, b])));
    pairs.filter(|&[a, b]| overlap(a, b)).collect()
}

fn per_class(data: &Dataset, clips: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut counts = vec![0; data.classes.len()];
    for i in clips {
        counts[data.clips[i].label] += 1;
    }
    counts
}

/// Puts each group into the part whose songs still lack most of what the group holds, or into none (`None`: training) when every
/// part would move away from its wanted counts.
///
/// With the parts of a cross-validation, whose wanted counts add up to everything, no group is left over.
fn assign(data: &Dataset, groups: &[Vec<usize>], wanted: &[Vec<f64>]) -> Vec<Option<usize>> {
    let total: f64 = wanted.iter().flatten().sum();
    let everything = (total - data.clips.len() as f64).abs() < 1e-6;
    let mut lacking = wanted.to_vec();
    let mut chosen = Vec::with_capacity(groups.len());
    for group in groups {
        let counts = per_class(data, group.iter().copied());
        // How much the squared distance to the wanted counts shrinks, relative to what is wanted of each song.
        let gain = |part: &[f64], target: &[f64]| -> f64 {
            let songs = part.iter().zip(target).zip(&counts);
            songs.map(|((&l, &t), &c)| (l * l - (l - c as f64).powi(2)) / t.max(1e-9)).sum()
        };
        let best = (0..lacking.len())
            .map(|part| (part, gain(&lacking[part], &wanted[part])))
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let part = best.filter(|&(_, gain)| everything || gain > 0.0).map(|(part, _)| part);
        if let Some(part) = part {
            for (l, &c) in lacking[part].iter_mut().zip(&counts) {
                *l -= c as f64;
            }
        }
        chosen.push(part);
    }
    if !everything {
        mend(data, groups, &mut chosen);
    }
    chosen
}

/// A rare song can be left without a clip on one side: moves the smallest group that holds one, where that robs no other song
/// of its last clip.
fn mend(data: &Dataset, groups: &[Vec<usize>], chosen: &mut [Option<usize>]) {
    for song in 0..data.classes.len() {
        for side in [Some(0), None] {
            let count = |chosen: &[Option<usize>], of: Option<usize>| {
                let on_side = groups.iter().zip(chosen).filter(|(_, c)| **c == of);
                per_class(data, on_side.flat_map(|(g, _)| g.iter().copied()))
            };
            if count(chosen, side)[song] > 0 {
                continue;
            }
            let before: Vec<bool> = {
                let other = if side.is_some() { None } else { Some(0) };
                count(chosen, other).iter().map(|&n| n > 0).collect()
            };
            let mut candidates: Vec<usize> = (0..groups.len())
                .filter(|&g| chosen[g] != side && groups[g].iter().any(|&i| data.clips[i].label == song))
                .collect();
            candidates.sort_by_key(|&g| groups[g].len());
            for g in candidates {
                let from = chosen[g];
                chosen[g] = side;
                let robbed = count(chosen, from).iter().zip(&before).any(|(&n, &had)| had && n == 0);
                if !robbed {
                    break;
                }
                chosen[g] = from;
            }
        }
    }
}

fn finish(data: &Dataset, groups: &[Vec<usize>], sides: &[Option<usize>], part: usize, by: &SplitBy) -> Result<Split> {
    let mut split = Split::default();
    for (group, side) in groups.iter().zip(sides) {
        let to = if *side == Some(part) { &mut split.validation } else { &mut split.train };
        to.extend_from_slice(group);
    }
    split.train.sort_unstable();
    split.validation.sort_unstable();
    check(data, &split, by)?;
    Ok(split)
}

fn check(data: &Dataset, split: &Split, by: &SplitBy) -> Result<()> {
    for (side, clips) in [("training", &split.train), ("validation", &split.validation)] {
        let counts = per_class(data, clips.iter().copied());
        if let Some(song) = counts.iter().position(|&n| n == 0) {
            let hint = match by {
                SplitBy::Person | SplitBy::Name => {
                    "; record the song with more people, or use setting `split` = `random`"
                }
                SplitBy::Random => "; record it again, or leave it out",
                SplitBy::Column(_) => "; mend the column, or use another setting `split`",
            };
            return Err(Error::Data(format!(
                "the song {} has no clip for {side} when split by {by}{hint}",
                data.classes[song]
            )));
        }
    }
    Ok(())
}

/// What a clip's row has in a column.
fn value<'a>(clip: &'a Clip, name: &str) -> Result<&'a str> {
    let found = clip.columns.iter().find(|(column, _)| column.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str()).ok_or_else(|| {
        let known: Vec<&str> = clip.columns.keys().map(String::as_str).collect();
        let there = match known[..] {
            [] => "only recordings that a CSV file lists have columns".into(),
            _ => format!("there are {}", known.join(", ")),
        };
        Error::usage("split", format!("`column:{name}`: no such column; {there}"))
    })
}

/// Ready-made folds: clips with each value of a column validate once, those without one never.
fn folds_by_column(data: &Dataset, name: &str, count: usize) -> Result<Vec<Split>> {
    let values = data.clips.iter().map(|clip| value(clip, name)).collect::<Result<Vec<&str>>>()?;
    let mut parts: Vec<&str> = values.iter().copied().filter(|value| !value.is_empty()).collect();
    // Numbers in order of size.
    let key = |text: &str| text.parse::<f64>().unwrap_or(f64::INFINITY);
    parts.sort_by(|a, b| key(a).total_cmp(&key(b)).then(a.cmp(b)));
    parts.dedup();
    if parts.len() != count {
        let some = parts.iter().take(10).copied().collect::<Vec<_>>().join(", ");
        let more = if parts.len() > 10 { ", ..." } else { "" };
        let detail = format!("{count} folds, but column {name} has {} values ({some}{more})", parts.len());
        return Err(Error::usage("folds", detail));
    }
    let by = SplitBy::Column(name.to_string());
    let fold = |part: &str| {
        let (validation, train) = (0..values.len()).partition(|&i| values[i] == part);
        let split = Split { train, validation };
        check(data, &split, &by).map(|()| split)
    };
    parts.into_iter().map(fold).collect()
}

fn by_column(data: &Dataset, name: &str) -> Result<Split> {
    let mut split = Split::default();
    for (i, clip) in data.clips.iter().enumerate() {
        let mut value = value(clip, name)?.to_ascii_lowercase();
        if column_key(name).starts_with("is") {
            value = match value.as_str() {
                "true" | "1" | "yes" | "1.0" => "validation".into(),
                "false" | "0" | "no" | "0.0" => "train".into(),
                _ => value,
            };
        }
        if value.starts_with("train") {
            split.train.push(i);
        } else if ["test", "val", "dev", "eval"].iter().any(|v| value.starts_with(v)) {
            split.validation.push(i);
        } else if !value.is_empty() {
            return Err(Error::usage(
                "split",
                format!(
                    "`column:{name}`: {} has `{value}`, which is neither train nor test nor validation; where its values are \
                     folds, setting `folds` says how many",
                    clip.id
                ),
            ));
        }
    }
    check(data, &split, &SplitBy::Column(name.to_string()))?;
    Ok(split)
}
