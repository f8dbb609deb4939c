// Sends a recording to the server that this page came from, and shows what it says.

const form = document.getElementById('form');
const file = document.getElementById('file');
const place = document.getElementById('answer');

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function show(answer) {
  if (answer.error) return place.replaceChildren(element('p', answer.error));
  const parts = [element('strong', answer.prediction), element('p', answer.reason)];
  const list = document.createElement('ol');
  for (const { start, end, song, confidence } of answer.passages ?? []) {
    list.append(element('li', `${start.toFixed(1)} s to ${end.toFixed(1)} s: ${song}, ${percent(confidence)}`));
  }
  if (!answer.passages) {
    for (const { song, probability } of answer.top) list.append(element('li', `${song}, ${percent(probability)}`));
  }
  parts.push(list, ...(answer.warnings ?? []).map((text) => element('p', text)));
  place.replaceChildren(...parts);
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  place.replaceChildren(element('p', 'Listening …'));
  try {
    const answer = await fetch('predict?top=3', { method: 'POST', body: new FormData(form) });
    show(await answer.json());
  } catch (error) {
    place.replaceChildren(element('p', `There is no answer: ${error.message}`));
  }
});

const model = await (await fetch('model')).json();
document.getElementById('knows').textContent = `It knows ${model.songs.length} songs: ${model.songs.join(', ')}.`;
