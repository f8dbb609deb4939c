//! `humdinger inspect`.

use super::{plain, say};
use crate::fusion::{Fusions, fuse};
use crate::graph::{Plan, Target};
use crate::train::Recipe;
use crate::train::model::{Model, model_states};
use crate::train::network::{Network, Pass};
use crate::train::recipe::FrontEnd;
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TargetArg {
    Cpu,
    Gpu,
}

/// Show the layers, parameters and plans of a model or a recipe.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file, or the folder of a run
    #[arg(value_name = "MODEL", required_unless_present = "recipe", conflicts_with = "recipe")]
    model: Option<PathBuf>,
    /// A recipe, instead of a model
    #[arg(long, value_parser = super::recipe)]
    recipe: Option<Recipe>,
    /// Clips in a step [default: the recipe's]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Songs, for a recipe
    #[arg(long, value_name = "N", default_value_t = 8)]
    outputs: usize,
    /// What the plans are made for
    #[arg(long, value_enum, default_value_t = TargetArg::Gpu)]
    target: TargetArg,
    /// Print one JSON object instead: what the model knows, its front end, its tensors with their shapes, and no plans
    #[arg(long)]
    json: bool,
}

/// What a program may want to know.
fn object(
    recipe: Recipe,
    outputs: usize,
    front_end: &FrontEnd,
    model: Option<&Model>,
    network: &Network,
) -> Result<serde_json::Value> {
    let failed = |e: serde_json::Error| Error::Data(format!("the description cannot be written: {e}"));
    let tensors: Vec<_> = model_states(&network.states)
        .iter()
        .map(|state| serde_json::json!({"name": state.name, "shape": state.shape.dims()}))
        .collect();
    let mut object = serde_json::json!({
        "recipe": recipe.name(),
        "outputs": outputs,
        "front_end": serde_json::to_value(front_end).map_err(failed)?,
        "parameters": network.parameters(),
        "tensors": tensors,
    });
    if let Some(Model { header, distribution, .. }) = model {
        object["songs"] = header.classes.clone().into();
        object["format_version"] = header.format_version.into();
        object["epoch"] = header.epoch.into();
        object["temperature"] = header.temperature.into();
        object["threshold"] = header.unknown_threshold.into();
        object["usual_distance"] = distribution.as_ref().map(|distribution| distribution.usual).into();
        object["heard"] = header.trained_on.clone().into();
        object["began_with"] = header.began_with.clone().into();
    }
    Ok(object)
}

pub fn run(args: Args) -> Result<()> {
    let model = args.model.as_deref().map(Model::read).transpose()?;
    let recipe = model.as_ref().map(|model| model.header.recipe).or(args.recipe).unwrap_or_default();
    let (front_end, outputs) = match &model {
        Some(model) => (model.header.front_end.clone(), model.header.outputs),
        None => (recipe.front_end(), args.outputs),
    };
    let batch = args.batch_size.unwrap_or(recipe.defaults().batch_size);
    if !(1..=4096).contains(&batch) {
        return Err(Error::usage("--batch-size", format!("{batch} is not from 1 to 4096")));
    }
    if !(2..=100_000).contains(&outputs) {
        return Err(Error::usage("--outputs", format!("{outputs} is not from 2 to 100000")));
    }
    if args.json {
        let of_model = model.as_ref().map(|model| model.header.classifier());
        let classifier = of_model.unwrap_or_else(|| recipe.classifier(outputs));
        let (network, _) = Network::of(recipe, &front_end, classifier, 0, true, 0)?;
        return say(object(recipe, outputs, &front_end, model.as_ref(), &network)?);
    }
    say(format!("recipe {recipe}, {outputs} outputs"))?;
    if let Some(Model { header, weights, distribution }) = &model {
        say(format!("songs: {}", header.classes.join(", ")))?;
        say(format!(
            "trained for {} epochs, {} tensors; temperature {:.3}, unknown below {:.3}",
            header.epoch,
            weights.tensors.len() + weights.counts.len(),
            header.temperature,
            header.unknown_threshold
        ))?;
        for (what, text) in [("was trained on", &header.trained_on), ("began with", &header.began_with)] {
            text.as_ref().map_or(Ok(()), |text| say(format!("{what} {}", plain(text))))?;
        }
        if let Some(distribution) = distribution {
            say(format!("out of distribution beyond a distance of {:.2}", distribution.usual))?;
        }
    }
    say(format!(
        "front end: {} Hz, {} channel(s), {} samples; n_fft {}, frame {}, hop {}, {} bands, {} dB: image {} x {}",
        front_end.sample_rate,
        front_end.channels,
        front_end.window,
        front_end.n_fft,
        front_end.frame,
        front_end.hop,
        front_end.bands,
        front_end.top_db,
        front_end.bands,
        front_end.frames()
    ))?;
    let augmentations = front_end
        .augmentations
        .iter()
        .map(|augmentation| format!("{:+} bands x {}", augmentation.shift, augmentation.stretch));
    say(format!(
        "test-time augmentation in {} variant(s): {}\n",
        front_end.augmentations.len(),
        augmentations.collect::<Vec<_>>().join(", ")
    ))?;
    let classifier = model.map_or_else(|| recipe.classifier(outputs), |model| model.header.classifier());
    let (network, adam) = Network::of(recipe, &front_end, classifier, 0, true, 0)?;
    for state in model_states(&network.states) {
        say(format!("  {:<24} {:<20} {:>8}", state.name, state.shape.to_string(), state.shape.elements()))?;
    }
    say(format!("  {} parameters\n", network.parameters()))?;
    let target = match args.target {
        TargetArg::Cpu => Target::Cpu,
        TargetArg::Gpu => Target::Gpu,
    };
    for (title, mode, count) in
        [("training step", Pass::Train { augment: true }, batch), ("evaluation of a window", network.evaluation(), 1)]
    {
        let mut graph = network.graph(mode, count, adam.as_ref())?;
        fuse(&mut graph, Fusions::for_target(target))?;
        let plan = Plan::new(graph, target)?;
        say(format!("{title}, batch {count}:\n{plan}\n"))?;
    }
    Ok(())
}
