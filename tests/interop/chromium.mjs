// Chromium through DAO: node chromium.mjs PAGE_URL SOCKET_URL EXECUTABLE CONVERSATION. Opens the page, then WebSockets to
// the same origin, and prints what the page saw as JSON. A "drain" prints "ready" when DAO may stop.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [page_url, socket_url, executablePath, conversation] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'dao-interop-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  ignoreHTTPSErrors: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--ignore-certificate-errors', '--no-proxy-server',
  ],
});
let failed = false;
try {
  const page = await context.newPage();
  await page.goto(page_url);
  await page.exposeFunction('ready', () => console.log('ready'));
  const seen = await page.evaluate(async ([url, what]) => {
    const sum = async (bytes) => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))).join();
    const socket = new WebSocket(url, ['one', 'two']);
    socket.binaryType = 'arraybuffer';
    const closed = new Promise((done) => { socket.onclose = (event) => done([event.code, event.reason, event.wasClean]); });
    await new Promise((done, fail) => { socket.onopen = done; socket.onerror = () => fail(new Error('no WebSocket')); });
    const echo = (message) => new Promise((done) => {
      socket.onmessage = (event) => done(event.data);
      socket.send(message);
    });
    const result = { protocol: socket.protocol, extensions: socket.extensions };
    result.text = await echo('grüße ☃');
    const bytes = new Uint8Array(1 << 20);
    for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
    const back = await echo(bytes);
    result.binary = back.byteLength === bytes.length && (await sum(back)) === (await sum(bytes));
    result.long_text = (await echo('x'.repeat(300_000))) === 'x'.repeat(300_000);
    result.next_hop = performance.getEntriesByType('navigation')[0].nextHopProtocol;
    if (what === 'drain') await window.ready();
    else if (what === 'asked') socket.send('close me');
    else socket.close(4001, 'enough');
    result.closed = await closed;
    return result;
  }, [socket_url, conversation]);
  console.log(JSON.stringify(seen));
} catch (error) {
  console.error(error.message);
  failed = true;
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
