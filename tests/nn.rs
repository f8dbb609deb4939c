//! Networks of modules: trained, stopped early, saved, loaded.

use humdinger::device::DeviceChoice;
use humdinger::graph::Value;
use humdinger::nn::{
    BatchNorm, Conv2d, Data, Declare, Dropout, Embedding, Epoch, Fit, Flatten, Flow, Gelu, Init, LayerNorm, Linear,
    Loss, MaxPool2d, Model, ModelOptions, Module, Net, Optimiser, PlaneMean, Relu, Sequential, Sigmoid, Tanh, Values,
    accuracy,
};
use humdinger::ops::Windows;
use humdinger::{Result, Tensor};

const CPU: ModelOptions = ModelOptions {
    device: DeviceChoice::Cpu,
    seed: 1,
    optimiser: Optimiser::Adam { weight_decay: 0.0 },
    max_norm: None,
};

/// Numbers in [-1, 1).
fn wave(i: usize) -> f32 {
    (i * 2_654_435_761 % 10_007) as f32 / 5_003.5 - 1.0
}

/// Points of the plane; the class is the sign of the product of their coordinates, which no linear layer can tell.
fn quadrants(items: usize) -> Data {
    let x: Vec<f32> = (0..2 * items).map(wave).collect();
    let classes: Vec<u32> = x.chunks(2).map(|p| u32::from(p[0] * p[1] > 0.0)).collect();
    Data::new(Tensor::new([items, 2], x).unwrap(), classes).unwrap()
}

fn perceptron() -> Sequential {
    Sequential::new().then(Linear::new(2, 32)).then(Relu).then(Linear::new(32, 2))
}

#[test]
fn a_network_learns_and_predicts_what_it_learned() -> Result<()> {
    let [train, test] = quadrants(500).split(0.8, 3)?;
    for optimiser in
        [Optimiser::Adam { weight_decay: 1e-4 }, Optimiser::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 }]
    {
        let mut model = Model::new(perceptron(), ModelOptions { optimiser, max_norm: Some(1.0), ..CPU })?;
        let history = model.fit(&mut train.shuffled(32, 1), Fit::classes(40, 0.02).validated(&mut test.batches(64)))?;
        let last = history.last().unwrap();
        assert!(last.training.metric > Some(0.9), "{optimiser:?}: {last:?}");
        assert_eq!((last.training.items, last.validation.unwrap().items), (400, 100));
        let output = model.predict(test.x().clone())?;
        let found = model.evaluate(&mut test.batches(7), &Loss::CrossEntropy { smoothing: 0.0 }, Some(accuracy))?;
        assert!((found.metric.unwrap() - accuracy(&output, test.targets())).abs() < 1e-12, "whatever the batches");
        assert!(found.metric > Some(0.9), "{optimiser:?}: {found:?}");
    }
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_bits() -> Result<()> {
    let run = |seed| -> Result<Tensor<f32>> {
        let network = Sequential::new().then(Linear::new(2, 16)).then(Dropout { p: 0.3 }).then(Linear::new(16, 2));
        let mut model = Model::new(network, ModelOptions { seed, ..CPU })?;
        model.fit(&mut quadrants(50).shuffled(8, 2), Fit::classes(2, 0.01))?;
        model.read("2.weight")
    };
    assert_eq!(run(1)?, run(1)?);
    assert_ne!(run(1)?, run(2)?);
    Ok(())
}

#[test]
fn dropout_drops_in_training_alone() -> Result<()> {
    let mut model = Model::new(Sequential::new().then(Linear::new(1, 1000)).then(Dropout { p: 0.25 }), CPU)?;
    model.write("0.weight", &Tensor::full([1000, 1], 0.0))?;
    model.write("0.bias", &Tensor::full([1000], 3.0))?;
    let batch =
        humdinger::nn::Batch { x: Tensor::full([1, 1], 1.0).into(), targets: Tensor::full([1, 1000], 3.0).into() };
    let mut dropped = Vec::new();
    for _ in 0..2 {
        let (_, output) = model.train_step(&batch, &Loss::MeanSquare, 0.0, 0.9)?;
        assert!(output.data().iter().all(|&y| y == 0.0 || (y - 4.0).abs() < 1e-6), "what is kept is divided by 0.75");
        dropped.push(output.data().iter().map(|&y| y == 0.0).collect::<Vec<_>>());
    }
    let share = dropped[0].iter().filter(|&&zero| zero).count();
    assert!((190..310).contains(&share), "{share} of 1000");
    assert_ne!(dropped[0], dropped[1], "drawn anew for each step");
    let (loss, output) = model.evaluate_step(&batch, &Loss::MeanSquare)?;
    assert!(loss == 0.0 && output.data().iter().all(|&y| y == 3.0));
    Ok(())
}

#[test]
fn the_best_parameters_stay_and_patience_ends_training() -> Result<()> {
    let (data, mut epochs) = (quadrants(64), Vec::new());
    let [train, test] = data.split(0.5, 1)?;
    let mut model = Model::new(perceptron(), CPU)?;
    let mut validation = test.batches(32);
    // A rate that soon spoils what was learned.
    let mut note = |epoch: &Epoch| {
        epochs.push(*epoch);
        Flow::Continue
    };
    let fit =
        Fit { patience: Some(3), after_epoch: Some(&mut note), ..Fit::classes(500, 0.5).validated(&mut validation) };
    let history = model.fit(&mut train.batches(32), fit)?;
    assert_eq!(history, epochs);
    let losses: Vec<f64> = history.iter().map(|epoch| epoch.validation.unwrap().loss).collect();
    let best = (0..losses.len()).fold(0, |best, i| if losses[i] < losses[best] { i } else { best });
    assert!(history.len() < 500 && best + 4 == history.len(), "{losses:?}");
    let now = model.evaluate(&mut test.batches(32), &Loss::CrossEntropy { smoothing: 0.0 }, None)?;
    assert!((now.loss - losses[best]).abs() < 1e-6, "{} is not the best of {losses:?}", now.loss);
    Ok(())
}

#[test]
fn a_callback_can_stop() -> Result<()> {
    let mut stop = |epoch: &Epoch| if epoch.number == 1 { Flow::Stop } else { Flow::Continue };
    let fit = Fit { after_epoch: Some(&mut stop), ..Fit::classes(9, 0.01) };
    let history = Model::new(perceptron(), CPU)?.fit(&mut quadrants(10).batches(5), fit)?;
    assert_eq!(history.len(), 2);
    Ok(())
}

/// Every layer, on images; and a module of one's own around some of them.
struct Wrapped(Sequential);

impl Module for Wrapped {
    fn declare(&self, to: &mut Declare<'_>) -> Result<()> {
        to.module("inner", &self.0)?;
        to.parameter("scale", Tensor::full([1], 1.0))
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        let y = net.module("inner", &self.0, x)?;
        let scale = net.state("scale")?;
        net.graph.multiply(y, scale)
    }
}

fn images() -> Sequential {
    let he = Init::KaimingNormal { slope: 0.0 };
    let stem = Sequential::new()
        .named("conv", Conv2d { init: he, ..Conv2d::new(1, 4, 3).padding(1) })
        .then(Relu)
        .named("norm", BatchNorm::new(4))
        .then(MaxPool2d(Windows::square(2)));
    Sequential::new()
        .named("block", Wrapped(stem))
        .then(Conv2d { bias: false, ..Conv2d::new(4, 4, 3).stride(2) })
        .then(PlaneMean)
        .then(LayerNorm::new(4))
        .then(Gelu)
        .then(Flatten)
        .then(Tanh)
        .named("head", Linear::new(4, 3))
}

#[test]
fn paths_name_the_parameters() -> Result<()> {
    let mut model = Model::new(images(), CPU)?;
    let wanted = [
        "block.inner.conv.weight",
        "block.inner.conv.bias",
        "block.inner.norm.weight",
        "block.inner.norm.bias",
        "block.inner.norm.running_mean",
        "block.inner.norm.running_var",
        "block.scale",
        "1.weight",
        "3.weight",
        "3.bias",
        "head.weight",
        "head.bias",
    ];
    let mut paths = model.paths();
    paths.sort();
    let mut sorted = wanted.map(String::from);
    sorted.sort();
    assert_eq!(paths, sorted);
    assert_eq!(model.parameter_count(), 36 + 4 + 8 + 1 + 144 + 8 + 12 + 3);
    assert_eq!(model.read("block.inner.conv.bias")?.data(), [0.0; 4]);
    let before = model.read("block.inner.norm.running_mean")?;
    let x = Tensor::new([6, 1, 12, 12], (0..6 * 144).map(wave).collect())?;
    model.fit(&mut Data::new(x, vec![0, 1, 2, 0, 1, 2])?.batches(4), Fit::classes(1, 0.01))?;
    assert_ne!(model.read("block.inner.norm.running_mean")?, before, "running statistics run");
    Ok(())
}

#[cfg(feature = "weights")]
#[test]
fn what_was_saved_answers_the_same_under_its_own_names_and_others() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let x = Tensor::new([2, 1, 12, 12], (0..288).map(wave).collect())?;
    let mut model = Model::new(images(), CPU)?;
    let expected = model.predict(x.clone())?;
    model.save(&path)?;
    let mut other = Model::new(images(), ModelOptions { seed: 2, ..CPU })?;
    assert_ne!(other.predict(x.clone())?, expected);
    other.load(&path)?;
    assert_eq!(other.predict(x.clone())?, expected);

    let renamed = || Sequential::new().named("net", images());
    let mut wrapped = Model::new(renamed(), ModelOptions { seed: 3, ..CPU })?;
    let error = wrapped.load(&path).unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("net.block"), "{error}");
    wrapped.load_with(&path, |path| path.trim_start_matches("net.").to_string())?;
    assert_eq!(wrapped.predict(x)?, expected);

    let error = Model::new(perceptron(), CPU)?.load_with(&path, |_| "head.weight".into()).unwrap_err().to_string();
    assert!(error.contains("[3, 4]") && error.contains("[32, 2]"), "{error}");
    Ok(())
}

/// Which of two words comes first.
#[test]
fn words_have_embeddings_and_losses_can_be_ones_own() -> Result<()> {
    let words: Vec<u32> = (0..128).map(|i| (i * 7 % 11) as u32).collect();
    let targets: Vec<f32> = words.chunks(2).map(|pair| f32::from(pair[0] < pair[1])).collect();
    let data = Data::new(Tensor::new([64, 2], words)?, Tensor::new([64, 1], targets)?)?;
    let network = Sequential::new()
        .then(Embedding { rows: 11, features: 8 })
        .then(Flatten)
        .then(Linear::new(16, 1))
        .then(Sigmoid);
    let mut model = Model::new(network, CPU)?;
    let absolute = Loss::custom(|graph, output, targets| {
        let difference = graph.subtract(output, targets)?;
        let difference = graph.abs(difference)?;
        graph.mean_all(difference)
    });
    let history = model.fit(&mut data.shuffled(16, 1), Fit::with(absolute, 60, 0.05))?;
    assert!(history[0].training.loss > 0.2 && history[59].training.loss < 0.1, "{:?}", history[59]);
    Ok(())
}

#[test]
fn what_cannot_be_done_is_told() -> Result<()> {
    let told = |error: humdinger::Error, words: &[&str]| {
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let data = quadrants(10);
    let mut model = Model::new(perceptron(), CPU)?;
    let patient = Fit { patience: Some(2), ..Fit::classes(2, 0.1) };
    told(model.fit(&mut data.batches(5), patient).unwrap_err(), &["patience", "validation"]);
    told(model.predict(Tensor::full([4, 3], 0.0)).unwrap_err(), &["linear", "[4, 3]"]);
    told(model.read("nothing").unwrap_err(), &["nothing"]);
    told(model.write("0.weight", &Tensor::full([2, 32], 0.0)).unwrap_err(), &["0.weight", "[32, 2]"]);
    let not_finite = Data::new(Tensor::full([2, 2], f32::NAN), vec![0, 1])?;
    told(model.fit(&mut not_finite.batches(2), Fit::classes(1, 0.1)).unwrap_err(), &["step 0", "NaN"]);
    let outside = Data::new(Tensor::full([2, 2], 0.0), vec![0, 7])?;
    told(model.fit(&mut outside.batches(2), Fit::classes(1, 0.1)).unwrap_err(), &["targets", "7"]);
    let twice = Sequential::new().named("a", Linear::new(1, 1)).named("a", Linear::new(1, 1));
    told(Model::new(twice, CPU).err().unwrap(), &["a.weight"]);
    told(Model::new(Sequential::new().then(Dropout { p: 1.0 }), CPU).err().unwrap(), &["dropout"]);
    assert_eq!(Values::from(vec![1, 2]).items(), 2);
    Ok(())
}
