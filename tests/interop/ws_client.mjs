// A client of npm's `ws` through DAO: node ws_client.mjs URL CONVERSATION. Exit status 0 when all went as it must.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import WebSocket from 'ws';

const [url, conversation] = process.argv.slice(2);
const deflate = conversation === 'deflate';
const socket = new WebSocket(url, ['one', 'two'], {
  perMessageDeflate: deflate,
  rejectUnauthorized: false,
  maxPayload: 64 << 20,
});
setTimeout(() => { console.error('too late'); process.exit(1); }, 60_000).unref();
await once(socket, 'open');
assert.equal(socket.protocol, 'two');
assert.equal(socket.extensions.includes('permessage-deflate'), deflate);

async function echoed(message) {
  socket.send(message);
  const [data, isBinary] = await once(socket, 'message');
  assert.equal(isBinary, typeof message !== 'string');
  assert.ok(data.equals(Buffer.from(message)), `${data.length} bytes came back, not the same`);
}

if (conversation === 'drain') {
  await echoed('before');
  console.log('ready');
  const [code] = await once(socket, 'close');
  assert.ok(code === 1012 || code === 1001, `closed with ${code}`);
} else {
  for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
    await echoed(randomBytes(size));
    await echoed('ü'.repeat(size / 2));
  }
  socket.ping('are you there');
  const [answer] = await once(socket, 'pong');
  assert.equal(answer.toString(), 'are you there');
  if (conversation === 'asked') {
    socket.send('close me');
    const [code, reason] = await once(socket, 'close');
    assert.deepEqual([code, reason.toString()], [4002, 'go']);
  } else {
    socket.close(4001, 'enough');
    const [code] = await once(socket, 'close');
    assert.equal(code, 4001);
  }
}
