// Keeps a copy of the page, so that it works without a network. Nothing that is heard is kept, and no call of the service.
const CACHE = "emofocus-__VERSION__";
const FILES = ["__FILES__"];
const SERVICE = /\/(v1\/|docs|openapi\.json|healthz|readyz|metrics)/;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (names) => names.filter((name) => name.startsWith("emofocus-") && name !== CACHE);
  event.waitUntil(caches.keys().then((names) => Promise.all(old(names).map((name) => caches.delete(name)))).then(() => self.clients.claim()));
});

// Names below assets/ hold a hash of the content; all else is asked for first, and taken from the copy without a network.
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin || SERVICE.test(pathname)) return;
  const kept = () => caches.open(CACHE).then((cache) => cache.match(request, { ignoreSearch: request.mode === "navigate" }));
  const hashed = pathname.includes("/assets/");
  event.respondWith(hashed ? kept().then((found) => found ?? fetch(request)) : fetch(request).catch(async (reason) => {
    const found = await kept();
    if (found) return found;
    throw reason;
  }));
});
