//! Settings as the library's messages name them, shown as what sets them here: the flags of the command line.

use super::Cli;
use clap::{Command, CommandFactory};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// What a setting's name stands behind in messages of the library; see [`Error::Usage`](crate::Error::Usage).
const MARK: &str = "setting `";

/// The long flags of all commands.
static FLAGS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    fn gather(command: &Command, flags: &mut BTreeSet<String>) {
        flags.extend(command.get_arguments().filter_map(clap::Arg::get_long).map(String::from));
        command.get_subcommands().for_each(|command| gather(command, flags));
    }
    let mut flags = BTreeSet::new();
    gather(&Cli::command(), &mut flags);
    flags
});

/// A message in which ``setting `val_fraction` `` is `--val-fraction` and ``setting `split` = `random` `` is `--split random`, where there
/// are such flags; what can only be set in a configuration file stays as it is.
pub(super) fn as_flags(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(MARK) {
        let (before, after) = (&rest[..at], &rest[at + MARK.len()..]);
        shown.push_str(before);
        let flag = after.split_once('`').map(|(name, behind)| (name.replace('_', "-"), behind));
        let Some((flag, behind)) = flag.filter(|(flag, _)| FLAGS.contains(flag)) else {
            shown.push_str(MARK);
            rest = after;
            continue;
        };
        shown.push_str("--");
        shown.push_str(&flag);
        rest = behind;
        if let Some((value, behind)) = behind.strip_prefix(" = `").and_then(|value| value.split_once('`')) {
            shown.push(' ');
            shown.push_str(value);
            rest = behind;
        }
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_as_flags_where_there_are_such() {
        let shown = [
            ("setting `val_fraction`: 2 is too much", "--val-fraction: 2 is too much"),
            ("use setting `split` = `random`, or another setting `split`", "use --split random, or another --split"),
            ("setting `weight_decay`: 2", "setting `weight_decay`: 2"),
            ("`a.wav` is setting `", "`a.wav` is setting `"),
            ("setting `split` = `", "--split = `"),
            ("nothing of the kind", "nothing of the kind"),
        ];
        for (text, flags) in shown {
            assert_eq!(as_flags(text), flags);
        }
    }
}
