//! How long a song is looked for among many: composed melodies, eight seconds of one of them, sung by a synthetic singer.
//!
//!     cargo bench --bench songs
//!
//! Each line is the median of eight searches, with one thread and with two.

use humdinger::data::synth::compose::compose;
use humdinger::data::synth::dsp::Dice;
use humdinger::data::synth::{Singer, Style, singer, voice};
use humdinger::melody::notes::SungNote;
use humdinger::melody::pitch::{PitchOptions, PitchTracker};
use humdinger::melody::search::{Query, SearchOptions, Searcher};
use humdinger::melody::song::Song;
use std::hint::black_box;
use std::time::Instant;

const MANY: usize = 100_000;
const RATE: f64 = 8000.0;
const BLOCK: usize = 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let songs: Vec<Song> = (0..MANY).filter_map(song).collect();
    let tracker = PitchTracker::new(RATE as u32, PitchOptions::default())?;
    let mut queries = Vec::new();
    for number in (0..8).map(|i| i * 200 + 7) {
        let (singer, mut dice) = (Singer::new(5, number), Dice::new(9, [5, number as u64, 0]));
        let (tune, step) = (compose(3, number), BLOCK as f64 / RATE);
        let performance = singer::perform(&tune, &singer, Style::Hum, 0.0, 8.0, step, &mut dice);
        let sung = voice::sing(&performance, &singer, RATE, BLOCK, 8 * RATE as usize, &mut dice);
        let sung: Vec<f32> = sung.into_iter().map(|x| x as f32).collect();
        let begin = Instant::now();
        let contour = black_box(tracker.track(&sung));
        if number == 7 {
            println!("pitch of 8 s, one thread: {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
        }
        queries.extend(Query::new(&contour).map(|query| (format!("{number}"), query)));
    }
    for count in [2000, MANY] {
        let songs = &songs[..count.min(songs.len())];
        let begin = Instant::now();
        let searcher = Searcher::new(songs);
        println!("{} songs made ready in {:.0} ms", songs.len(), begin.elapsed().as_secs_f64() * 1e3);
        for anywhere in [false, true] {
            let options = SearchOptions { anywhere, ..SearchOptions::default() };
            for threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
                let mut times = Vec::new();
                let mut first = 0;
                for (id, query) in &queries {
                    let begin = Instant::now();
                    let found = pool.install(|| searcher.search(songs, query, &options));
                    times.push(begin.elapsed().as_secs_f64() * 1e3);
                    first += usize::from(found.first().is_some_and(|best| songs[best.song].id == *id));
                }
                times.sort_by(f64::total_cmp);
                println!(
                    "among {:6} songs{}, {threads} threads: {:7.1} ms; {first} of {} found first",
                    songs.len(),
                    if anywhere { ", from any phrase" } else { "" },
                    times[times.len() / 2],
                    queries.len()
                );
            }
        }
    }
    Ok(())
}

/// Composed song number so and so, which has that as its id.
fn song(number: usize) -> Option<Song> {
    let tune = compose(3, number);
    let (mut now, mut notes, mut marks) = (0.0, Vec::new(), Vec::new());
    for note in &tune.notes {
        let end = now + note.beats * 60.0 / tune.tempo;
        notes.extend(note.semitone.map(|s| SungNote { start: now, end, midi: 60.0 + f64::from(s) }));
        now = end;
        if note.phrase_end {
            marks.push(now);
        }
    }
    Song::new(number.to_string(), "", tune.tempo, notes, &marks).ok()
}
