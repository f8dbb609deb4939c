//! Songs that have few clips, gone over as often as those that have many.

use crate::data::Dataset;

/// A clip comes so many times in an epoch at most, however rare its song is.
const MOST_REPEATS: usize = 20;

/// What an epoch goes over: the numbers of clips. Where songs are to be balanced, clips come again until there are about as many of each
/// song; a clip that comes for the k-th time again has k times the number of all clips added to its own, and is varied otherwise.
pub(super) fn items(balance: bool, data: &Dataset, train: &[usize]) -> Vec<usize> {
    let mut counts = vec![0usize; data.classes.len()];
    train.iter().for_each(|&i| counts[data.clips[i].label] += 1);
    let most = if balance { counts.iter().copied().max().unwrap_or(0) } else { 0 };
    let mut items = train.to_vec();
    let mut places = vec![0usize; data.classes.len()];
    for round in 1..MOST_REPEATS {
        for &i in train {
            let song = data.clips[i].label;
            // Every clip of a song once more before one comes twice more.
            if counts[song] * round + places[song] < most {
                items.push(i + round * data.clips.len());
                places[song] += 1;
            }
        }
        places.fill(0);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Clip;
    use std::path::Path;

    #[test]
    fn rare_songs_come_as_often_as_others() {
        let clip = |label| Clip { label, ..Clip::alone(Path::new("x"), vec![vec![0.0]]) };
        let clips: Vec<Clip> = [0, 0, 0, 0, 0, 1, 1, 2].into_iter().map(clip).collect();
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let data = Dataset { clips, classes, ..Dataset::default() };
        let train = [0, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(items(false, &data, &train), train);
        let mut balanced = items(true, &data, &train);
        balanced.sort_unstable();
        // Of the second song one clip comes three times and one twice; each time with a number of its own.
        assert_eq!(balanced, [0, 1, 2, 3, 4, 5, 6, 7, 13, 14, 15, 21, 23, 31, 39]);
    }
}
