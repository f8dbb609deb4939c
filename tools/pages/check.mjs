// Opens pages and pictures in headless Chromium, 1280 and 390 pixels wide, light and dark, and fails on console errors, on what is cut off or sticks
// out without a sign that it scrolls, on labels that lie on each other, on pale writing, and on players whose file is not there.
//
//     node check.mjs [--shots FOLDER] FILE..
import { existsSync, mkdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const WIDTHS = [1280, 390];
const SCHEMES = ["light", "dark"];
const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// What must be found in the page that has every fault, at each width and in each scheme.
const KINDS = ["console: ", "error: ", "the page is ", "reaches beyond", "wider than its room", "is cut off", "lie on each other", "a contrast of", "no recording at"];

/// Runs in the page: what is wrong with it, one sentence each.
function faults() {
    const found = [];
    const name = (element) => {
        const text = (element.textContent || "").trim().slice(0, 40);
        return `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") || ""}"> "${text}"`;
    };
    const wide = document.documentElement.clientWidth;
    // A picture by itself is as wide as it is.
    if (document.documentElement.tagName === "HTML" && document.documentElement.scrollWidth > wide) {
        found.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${wide}`);
    }
    for (const element of document.querySelectorAll("body *")) {
        const style = getComputedStyle(element);
        if (element.closest("svg") || style.display === "none" || style.display === "inline") continue;
        const box = element.getBoundingClientRect();
        if (box.width === 0 || box.height === 0) continue;
        const scrolls = element.closest(".scroll");
        if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0 && element !== scrolls && !element.closest("audio")) {
            if (style.overflowX !== "visible" || !scrolls) found.push(`${name(element)} is wider than its room`);
        }
        if (!scrolls && box.right > wide + 1) found.push(`${name(element)} reaches beyond the window`);
        if (!scrolls && box.left < -1) found.push(`${name(element)} begins before the window`);
        // The sign that it scrolls is a shade at its edges.
        if (element === scrolls && element.scrollWidth > element.clientWidth + 1) {
            if (style.overflowX !== "auto" || !style.backgroundImage.includes("gradient")) found.push(`${name(element)} scrolls without a sign`);
        }
    }
    for (const svg of document.querySelectorAll("svg")) {
        const room = svg.getBoundingClientRect();
        const words = [...svg.querySelectorAll("text")].map((text) => [text, text.getBoundingClientRect()]);
        words.forEach(([text, box], i) => {
            if (box.left < room.left - 1 || box.right > room.right + 1 || box.top < room.top - 1 || box.bottom > room.bottom + 2) {
                found.push(`the label "${text.textContent}" is cut off`);
            }
            for (const [other, there] of words.slice(i + 1)) {
                const across = Math.min(box.right, there.right) - Math.max(box.left, there.left);
                // The boxes of letters have air above and below.
                const down = Math.min(box.bottom, there.bottom) - Math.max(box.top, there.top);
                if (across > 1 && down > 0.35 * Math.min(box.height, there.height)) {
                    found.push(`the labels "${text.textContent}" and "${other.textContent}" lie on each other`);
                }
            }
        });
    }
    // Contrast as WCAG 2.1 reckons it, of writing against what lies behind it.
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const opaque = (colour) => !/^rgba\(.*, 0(\.\d+)?\)$/.test(colour) && colour !== "transparent";
    for (const element of document.querySelectorAll("p, td, th, h1, h2, h3, b, span, summary, text, figcaption, a")) {
        if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
        let behind = element;
        while (behind && !opaque(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
        const ground = behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
        const style = getComputedStyle(element);
        const ink = element instanceof SVGElement ? style.fill : style.color;
        const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4) found.push(`${name(element)} has a contrast of ${ratio.toFixed(1)}`);
    }
    if (!document.title && document.documentElement.tagName === "HTML") found.push("the page has no title");
    return [...new Set(found)];
}

async function check(browser, file, shots) {
    const found = [];
    for (const scheme of SCHEMES) {
        for (const width of WIDTHS) {
            const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: scheme, deviceScaleFactor: 1 });
            const say = (text) => found.push(`${basename(dirname(file))}/${basename(file)}, ${width} px, ${scheme}: ${text}`);
            page.on("console", (message) => ["error", "warning"].includes(message.type()) && say(`console: ${message.text()}`));
            page.on("pageerror", (error) => say(`error: ${error.message}`));
            page.on("requestfailed", (request) => say(`not loaded: ${request.url().slice(0, 200)}`));
            await page.goto(pathToFileURL(file).href, { waitUntil: "load" });
            await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
            (await page.evaluate(faults)).forEach(say);
            for (const source of await page.evaluate(() => [...document.querySelectorAll("audio")].map((audio) => audio.getAttribute("src")))) {
                if (!source.startsWith("data:") && !existsSync(join(dirname(file), decodeURIComponent(source)))) say(`no recording at ${source}`);
            }
            if (shots) {
                const part = `${basename(dirname(file))}-${basename(file).replace(/\W/g, "-")}-${width}-${scheme}.png`;
                await page.screenshot({ path: join(shots, part), fullPage: true });
            }
            await page.close();
        }
    }
    return found;
}

const files = process.argv.slice(2);
const at = files.indexOf("--shots");
const shots = at < 0 ? null : resolve(files.splice(at, 2)[1]);
if (shots) mkdirSync(shots, { recursive: true });
if (files.length === 0) throw new Error("name the pages");
const executablePath = BROWSERS.find((path) => path && existsSync(path));
if (!executablePath) throw new Error("needs Chromium");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
let bad = 0;
for (const file of files.map((file) => resolve(file))) {
    const found = await check(browser, file, shots);
    // A check that finds nothing in a page that has every fault is worth nothing anywhere.
    if (basename(file) === "every-fault.html") {
        const missed = KINDS.filter((kind) => found.filter((text) => text.includes(kind)).length < WIDTHS.length * SCHEMES.length);
        if (missed.length > 0) throw new Error(`not found in a page that has every fault: ${missed.join(", ")}`);
        continue;
    }
    found.forEach((text) => console.error(text));
    bad += found.length;
    console.log(`${found.length === 0 ? "good" : "BAD"}: ${file}`);
}
await browser.close();
process.exit(bad ? 1 : 0);
