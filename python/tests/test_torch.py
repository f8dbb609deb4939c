"""The PyTorch modules beside the program's own networks."""

import numpy as np
import pytest
from conftest import Data

import humdinger

torch = pytest.importorskip("torch", reason="PyTorch is not installed: NOT TESTED, whether its modules agree with ours")


@pytest.mark.filterwarnings("ignore:.*is clipped:UserWarning")
@pytest.mark.parametrize("recipe", ["melody", "notebook"])
def test_modules_agree(data: Data, recipe: str) -> None:
    import humdinger.torch as networks

    classifier = humdinger.SongClassifier(recipe, epochs=1, device="cpu").fit(data.files, data.songs, groups=data.people)
    model = classifier.model_
    network = networks.module(model)
    weights = model.weights()
    for file in data.files[:5]:
        samples, rate = humdinger.read(file, model.sample_rate)
        # Four seconds: melody takes them twice, the notebook once.
        window = np.tile(samples, 2)[:, :64_000] if recipe == "melody" else samples[:, :44_000]
        assert window.shape[1] == (64_000 if recipe == "melody" else 44_000)
        levels = humdinger.spectrogram(window, rate, recipe=recipe).levels[None]
        with torch.no_grad():
            logits = network(networks.standardise(levels, recipe)).numpy()[0]
        ours = weights["lin.weight"].astype(np.float64) @ model.embed([(window, rate)])[0] + weights["lin.bias"]
        np.testing.assert_allclose(logits, ours, atol=1e-5 * max(1, np.abs(ours).max()))
