//! `humdinger synth`: writes a synthetic data set.

use super::{say, warn};
use crate::data::synth::{self, Channels, Options, Style, Styles, Tune};
use crate::train::config::Config;
use crate::train::source;
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StylesArg {
    Both,
    Hum,
    Whistle,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelsArg {
    Mono,
    Stereo,
    Mixed,
}

/// Make a data set of hummed and whistled public-domain tunes by synthetic singers.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to make; it must not hold anything yet
    #[arg(long, value_name = "FOLDER", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// List the tunes and stop
    #[arg(long)]
    list: bool,
    /// Everything random is drawn from this
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// Number of people
    #[arg(long, value_name = "N", default_value_t = Options::default().singers)]
    singers: usize,
    /// Number of the first person; a second data set that begins where the first ends has other people in it
    #[arg(long, value_name = "N", default_value_t = Options::default().first_person)]
    first_person: usize,
    /// Built-in tunes by name, separated by commas [default: twelve of them]; or files and folders of melodies, as `catalogue make` reads them
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    tunes: Vec<String>,
    /// Recordings of each tune by each person
    #[arg(long, value_name = "N", default_value_t = Options::default().takes)]
    takes: usize,
    /// Hums (and singing), whistles, or both
    #[arg(long, value_enum, default_value_t = StylesArg::Both)]
    styles: StylesArg,
    /// Length of each recording
    #[arg(long, value_name = "S", default_value_t = Options::default().seconds)]
    seconds: f64,
    /// Samples a second
    #[arg(long, value_name = "HZ", default_value_t = Options::default().rate)]
    rate: u32,
    /// Mono, stereo, or as each singer's recorder does
    #[arg(long, value_enum, default_value_t = ChannelsArg::Mixed)]
    channels: ChannelsArg,
    /// Probability that a recording begins at a later phrase than the tune's first
    #[arg(long, value_name = "P", default_value_t = Options::default().anywhere)]
    anywhere: f64,
}

/// The recordings of a run, new or `resumed`; those of synthetic singers are made first.
pub(super) fn recordings(
    (tunes, singers): (&[String], Option<usize>),
    config: &Config,
    resumed: bool,
) -> Result<Option<PathBuf>> {
    let made = sung(tunes, singers, config.seed)?;
    let Some(known) = config.data.as_ref().filter(|_| resumed) else { return Ok(made.or(config.data.clone())) };
    match made {
        // Their folder's name says what is in it.
        Some(made) if made.file_name() == known.file_name() => Ok(Some(made)),
        Some(_) => {
            let detail = "are not the songs, or not the singers, that the run was begun with";
            Err(Error::usage("--tunes", format!("{detail}: its recordings were {}", known.display())))
        }
        None if !known.exists() && source::is_sung(known) => {
            let detail = "the synthetic recordings of this run are gone; the same --tunes (and --singers) with --resume make them again";
            Err(Error::file(known, detail))
        }
        None => Ok(Some(known.clone())),
    }
}

/// The folder of synthetic recordings of the songs that `train --tunes` names, if it names any.
fn sung(names: &[String], singers: Option<usize>, seed: u64) -> Result<Option<PathBuf>> {
    let Some(first) = names.first() else { return Ok(None) };
    let named = Options { tunes: names.to_vec(), ..Options::default() };
    let tunes = match own_tunes(names)? {
        Some(tunes) => tunes,
        None => named.chosen_tunes()?.into_iter().cloned().collect(),
    };
    if tunes.len() < 2 {
        return Err(Error::usage("--tunes", "one song cannot be told from another; name at least two"));
    }
    let singers = singers.unwrap_or_else(|| source::usual_singers(tunes.len()));
    let whose = Path::new(first).file_stem().map_or_else(|| "tunes".into(), |stem| stem.to_string_lossy());
    source::sung(&tunes, &whose, singers, seed, &|text| warn(text)).map(Some)
}

/// The tunes of files and folders, where that is what was named and not built-in tunes.
fn own_tunes(names: &[String]) -> Result<Option<Vec<Tune>>> {
    let built_in = |name: &String| synth::tunes::find(name).is_some();
    let (known, paths): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| built_in(name));
    let Some(first) = paths.iter().find(|path| Path::new(path).exists()) else { return Ok(None) };
    if let Some(name) = known.first() {
        let detail =
            format!("`{name}` is a built-in tune and `{first}` are files of melodies: name one kind or the other");
        return Err(Error::usage("--tunes", detail));
    }
    let paths: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
    Ok(Some(Tune::of_songs(&super::catalogue::melodies(&paths, None)?.songs)))
}

pub fn run(args: Args) -> Result<()> {
    if args.list {
        return synth::tunes().iter().try_for_each(|tune| say(&tune.name));
    }
    let own = own_tunes(&args.tunes)?;
    let options = Options {
        seed: args.seed,
        singers: args.singers,
        first_person: args.first_person,
        tunes: args.tunes,
        takes: args.takes,
        styles: match args.styles {
            StylesArg::Both => Styles::Both,
            StylesArg::Hum => Styles::Only(Style::Hum),
            StylesArg::Whistle => Styles::Only(Style::Whistle),
        },
        seconds: args.seconds,
        rate: args.rate,
        channels: match args.channels {
            ChannelsArg::Mono => Channels::Mono,
            ChannelsArg::Stereo => Channels::Stereo,
            ChannelsArg::Mixed => Channels::Mixed,
        },
        anywhere: args.anywhere,
    };
    let out = args.out.unwrap_or_default();
    let made = match &own {
        Some(tunes) => synth::write_tunes(&out, &tunes.iter().collect::<Vec<_>>(), &options, true)?,
        None => synth::write(&out, &options, true)?,
    };
    say(format!(
        "{}: {} recordings ({} whistled) of {} tunes by {} people, {:.0} s, {:.1} MB",
        out.display(),
        made.clips,
        made.whistles,
        made.tunes.len(),
        made.singers,
        made.seconds,
        made.bytes as f64 / 1e6
    ))
}
