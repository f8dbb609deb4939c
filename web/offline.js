// Keeps the page's files, so that it works without a network. A newer page takes the place of an older one when it is there.
const FILES = ['./', 'about.json'];
const STORE = 'humdinger-page';

addEventListener('install', (event) => {
    skipWaiting();
    event.waitUntil((async () => {
        const about = await (await fetch('about.json', { cache: 'reload' })).json();
        const store = await caches.open(STORE);
        await store.addAll([...FILES, ...about.files].map((name) => new Request(name, { cache: 'reload' })));
    })());
});
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

/** From the network where there is one, so that no file of one page meets those of another; else what was kept. */
addEventListener('fetch', (event) => {
    if (event.request.method !== 'GET') return;
    event.respondWith((async () => {
        const store = await caches.open(STORE);
        try {
            const response = await fetch(event.request);
            if (response.ok && new URL(event.request.url).origin === location.origin && (await store.match(event.request))) {
                event.waitUntil(store.put(event.request, response.clone()));
            }
            return response;
        } catch (error) {
            const kept = await store.match(event.request, { ignoreSearch: true });
            if (kept) return kept;
            throw error;
        }
    })());
});
