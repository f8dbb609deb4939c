// Runs the plans of a recipe from the weights and inputs that the CPU had, and says how far the outcomes are from the CPU's. Used in Node
// and, as it is, in a page.

/** @param {GPUDevice} device @param {object} load `load` of plan.js @param {object} plans `{ train, evaluate }` @param {Record<string, Float32Array>} numbers */
export async function distances(device, load, plans, numbers) {
    const of = (prefix) => Object.fromEntries(Object.entries(numbers).filter(([name]) => name.startsWith(prefix)).map(([name, values]) => [name.slice(prefix.length), values]));
    const write = (plan, values) => plan.inputs.forEach(({ name, type }) => plan.write(name, type === 'u32' ? Uint32Array.from(values[name]) : values[name]));
    const begun = performance.now();
    const train = await load(device, plans.train);
    const evaluate = await load(device, plans.evaluate, train.states);
    const compiled = (performance.now() - begun) / 1000;
    const unset = train.states.set(of('before.'));
    if (unset.length > 0) throw new Error(`no values for ${unset}`);
    let loss = 0;
    for (let step = 0; `step.${step}.labels` in numbers; step += 1) {
        write(train, of(`step.${step}.`));
        train.run();
        const expected = numbers[`step.${step}.expected.loss`][0];
        loss = Math.max(loss, Math.abs((await train.read('loss')).loss[0] - expected) / Math.abs(expected));
    }
    const after = of('after.');
    const errors = { weights: [0, 0], moments: [0, 0] };
    for (const [name, values] of Object.entries(await train.states.get(...Object.keys(after)))) {
        const sums = errors[name.startsWith('adam.') ? 'moments' : 'weights'];
        values.forEach((value, i) => (sums[0] += (value - after[name][i]) ** 2));
        after[name].forEach((value) => (sums[1] += value ** 2));
    }
    const [nmse, moments] = Object.values(errors).map(([difference, size]) => difference / size);
    // The CPU's own weights, so that one error is not measured in another.
    train.states.set(after);
    write(evaluate, of('evaluate.'));
    evaluate.run();
    const { logits } = await evaluate.read('logits');
    const far = Math.max(...logits.map((value, i) => Math.abs(value - numbers['evaluate.expected.logits'][i])));
    const faults = await wrongUses(train, evaluate, load, device, plans.evaluate);
    return { compiled, loss, nmse, moments, logits: far, faults };
}

/** What is asked wrongly is refused, with a name; what was not. */
async function wrongUses(train, evaluate, load, device, plan) {
    const [first] = evaluate.inputs;
    const indices = train.inputs.find(({ below }) => below !== null);
    const uses = {
        'has no nonsense, only': () => evaluate.write('nonsense', new Float32Array(1)),
        [`${first.name} takes`]: () => evaluate.write(first.name, new Float32Array(1)),
        'elements of f32': () => evaluate.write(first.name, new Uint32Array(first.place[2])),
        [`is not below ${indices.below}`]: () => train.write(indices.name, new Uint32Array(indices.place[2]).fill(indices.below)),
        'no plan of version 1': () => load(device, { ...plan, version: 2 }),
        'elements, and 64 in this plan': () => load(device, { ...plan, groups: plan.groups.map((group) => ({ ...group, length: 64 })) }, train.states),
        'elements, not 1': () => train.states.set({ 'lin.bias': new Float32Array(1) }),
    };
    const faults = [];
    for (const [words, use] of Object.entries(uses)) {
        const said = await (async () => use())().then(() => 'nothing', ({ message }) => message);
        if (!said.includes(words)) faults.push(`"${words}" is not said: ${said}`);
    }
    return faults;
}

/** What is wrong with these distances, one sentence each. */
export function judged(recipe, { loss, nmse, moments, logits, faults }) {
    // Moments are made of gradients, which jump where rounding says which of two numbers is the maximum, or above 0.
    const most = { loss: 1e-5, nmse: 1e-9, moments: 1e-6, logits: 1e-5 };
    const far = Object.entries({ loss, nmse, moments, logits }).filter(([name, value]) => !(value <= most[name]));
    return [...far.map(([name, value]) => `${recipe}: ${name} is off by ${value}, more than ${most[name]}`), ...faults.map((fault) => `${recipe}: ${fault}`)];
}
