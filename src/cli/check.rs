//! `humdinger check`.

use super::flags::as_flags;
use super::plain;
use super::terminal::{BOLD, entry, say, styled};
use crate::data::check::{FileReport, Report, check};
use crate::data::find::none_lost;
use crate::data::labels;
use crate::error::counted;
use crate::train::weights::write_whole;
use crate::{Error, Result};
use std::path::PathBuf;
use std::process::ExitCode;

/// Look at recordings before training: what is read, what is not, and what is wrong with it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder or CSV file of recordings, as `train --data` takes it
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Print one JSON object: labels_from, songs, people, notes and files
    #[arg(long)]
    json: bool,
    /// Also write all of it as a page
    #[arg(long, value_name = "HTML")]
    html: Option<PathBuf>,
    /// Write over a page that is there already
    #[arg(long, requires = "html")]
    force: bool,
    /// Fail where a recording cannot be read
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    columns: super::ColumnArgs,
}

pub fn run(args: Args) -> Result<ExitCode> {
    if let Some(page) = &args.html {
        super::check_free(page, args.force)?;
    }
    let listing = labels::list_by(&args.data, &args.columns.clone().into())?;
    if !args.json {
        entry("labels from", plain(&listing.labels_from))?;
    }
    let report = check(&listing, true);
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|e| Error::Data(e.to_string()))?;
        say(text)?;
    } else {
        print(&report)?;
    }
    if let Some(path) = &args.html {
        let name =
            args.data.file_name().map_or_else(|| args.data.display().to_string(), |n| n.to_string_lossy().into());
        write_whole(path, super::check_page::page(&name, &report).as_bytes())?;
        if !args.json {
            entry("page", plain(&path.display().to_string()))?;
        }
    }
    if args.strict {
        none_lost(&args.data, &listing.left_out)?;
        let unread: Vec<&str> =
            lost(&report).filter(|file| file.song.is_some()).map(|file| file.path.as_str()).collect();
        if !unread.is_empty() {
            return Err(Error::file(&args.data, format!("not everything in it can be read: {}", unread.join(", "))));
        }
    }
    if report.songs.is_empty() {
        return Err(Error::file(&args.data, "none of its recordings can be used"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Recordings that are left out.
fn lost(report: &Report) -> impl Iterator<Item = &FileReport> {
    report.files.iter().filter(|file| file.left_out.is_some() && !file.harmless)
}

/// The files, then what there is to say of all of them, which stays in sight.
fn print(report: &Report) -> Result<()> {
    let used: Vec<&FileReport> = report.files.iter().filter(|file| file.left_out.is_none()).collect();
    let width = |text: &dyn Fn(&FileReport) -> usize, most: usize| {
        used.iter().map(|file| text(file)).max().unwrap_or(0).clamp(6, most)
    };
    let path = width(&|file| plain(&file.path).chars().count(), 60);
    let song = width(&|file| file.song.as_deref().map_or(0, |song| plain(song).chars().count()), 30);
    let person = width(&|file| file.person.as_deref().map_or(0, |person| plain(person).chars().count()), 20);
    let head = format!(
        "\n  {:path$}  {:song$}  {:person$}  {:>9}  {:>3}  {:>7}  codec",
        "file", "song", "person", "seconds", "ch.", "Hz"
    );
    say(styled(BOLD, head))?;
    for file in &used {
        say(format!(
            "  {:path$}  {:song$}  {:person$}  {:>9.2}  {:>3}  {:>7}  {}",
            plain(&file.path),
            plain(file.song.as_deref().unwrap_or_default()),
            plain(file.person.as_deref().unwrap_or("-")),
            file.seconds.unwrap_or_default(),
            file.channels.unwrap_or_default(),
            file.sample_rate.unwrap_or_default(),
            file.codec.as_deref().unwrap_or_default()
        ))?;
    }
    let section = |title: &str| say(styled(BOLD, format!("\n  {title}")));
    let told = |file: &&&FileReport| file.warnings.iter().any(|warning| !report.notes.contains(warning));
    let warned: Vec<&&FileReport> = used.iter().filter(told).collect();
    if !warned.is_empty() {
        section("warnings")?;
        for file in warned {
            // Duplicates are named once, below.
            for warning in file.warnings.iter().filter(|warning| !report.notes.contains(warning)) {
                say(format!("  {}: {}", plain(&file.path), plain(warning)))?;
            }
        }
    }
    let left_out: Vec<&FileReport> = report.files.iter().filter(|file| file.left_out.is_some()).collect();
    if !left_out.is_empty() {
        section("left out")?;
        for file in &left_out {
            say(format!("  {}: {}", plain(&file.path), plain(file.left_out.as_deref().unwrap_or_default())))?;
        }
    }
    if !report.notes.is_empty() {
        section("notes")?;
        report.notes.iter().try_for_each(|note| say(format!("  {}", plain(&as_flags(note)))))?;
    }
    section("songs")?;
    for (song, count) in &report.songs {
        let of_song = used.iter().filter(|file| file.song.as_ref() == Some(song));
        let seconds: f64 = of_song.filter_map(|file| file.seconds).sum();
        entry(&plain(song), format!("{}, {seconds:.0} s", counted(*count, "recording")))?;
    }
    say("")?;
    let people = match report.people.len() {
        0 => "who sings is not known".to_string(),
        people => format!("{people} people"),
    };
    entry("recordings", format!("{}, {}, {people}", used.len(), counted(report.songs.len(), "song")))?;
    entry("left out", format!("{}, {} of them recordings", counted(left_out.len(), "file"), lost(report).count()))?;
    entry("labels from", plain(&report.labels_from))
}
