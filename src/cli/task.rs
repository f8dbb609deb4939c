//! Which of several jobs this is, as the system says that started them.

use std::str::FromStr;

/// What stands for the number that the system gave.
const ENV: &str = "env";

/// The number of this job among those of a Slurm array, whose numbers are to begin with 1, or of an indexed job of Kubernetes, which
/// begin with 0 there; counted from 1. `get` reads the environment.
fn number(get: impl Fn(&str) -> Option<String>) -> Result<usize, String> {
    let parse = |name: &str, text: String| text.parse::<usize>().map_err(|_| format!("{name} is `{text}`, no number"));
    let (slurm, kubernetes) = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX");
    if let Some(text) = get(slurm) {
        return match parse(slurm, text)? {
            0 => Err(format!("{slurm} is 0; let the array begin with 1, as --array=1-5")),
            number => Ok(number),
        };
    }
    match get(kubernetes) {
        Some(text) => Ok(parse(kubernetes, text)? + 1),
        None => Err(format!("neither {slurm} nor {kubernetes} is set: this is no job of an array")),
    }
}

fn here(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A whole number, or `env` for that of this job.
pub fn whole<T: FromStr + TryFrom<usize>>(text: &str) -> Result<T, String> {
    if text != ENV {
        return super::whole(text);
    }
    T::try_from(number(here)?).map_err(|_| "the number of this job is too large".into())
}

/// A part of the work: `i/n`, the i-th of n, or `env/n` for that of this job.
pub fn shard(text: &str) -> Result<(usize, usize), String> {
    shard_of(text, here)
}

fn shard_of(text: &str, get: impl Fn(&str) -> Option<String>) -> Result<(usize, usize), String> {
    let wrong = || "it must be i/n, the i-th of n parts, as 1/4, or env/n in a job of an array".to_string();
    let (i, n) = text.split_once('/').ok_or_else(wrong)?;
    let n: usize = n.parse().map_err(|_| wrong())?;
    if i == ENV {
        let i = number(get)?;
        return if i <= n { Ok((i, n)) } else { Err(format!("this is job {i}, and there are {n} parts")) };
    }
    match i.parse() {
        Ok(i) if 1 <= i && i <= n => Ok((i, n)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(name: &'a str, value: &'a str) -> impl Fn(&str) -> Option<String> + 'a {
        move |asked| (asked == name).then(|| value.to_string())
    }

    #[test]
    fn jobs_have_numbers() {
        assert_eq!(number(of("SLURM_ARRAY_TASK_ID", "3")), Ok(3));
        assert_eq!(number(of("JOB_COMPLETION_INDEX", "0")), Ok(1));
        assert!(number(of("SLURM_ARRAY_TASK_ID", "0")).unwrap_err().contains("--array=1-5"));
        assert!(number(of("SLURM_ARRAY_TASK_ID", "x")).unwrap_err().contains("`x`, no number"));
        assert!(number(|_| None).unwrap_err().contains("no job of an array"));
        assert_eq!(whole::<u64>("7"), Ok(7));
        assert!(whole::<usize>("-1").is_err());
    }

    #[test]
    fn parts_of_the_work() {
        assert_eq!(shard("2/3"), Ok((2, 3)));
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "env", "env/x"] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
        assert_eq!(shard_of("env/4", of("JOB_COMPLETION_INDEX", "3")), Ok((4, 4)));
        assert!(shard_of("env/4", of("SLURM_ARRAY_TASK_ID", "5")).unwrap_err().contains("job 5, and there are 4"));
    }
}
