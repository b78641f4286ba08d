// A WebSocket server of npm's `ws`: echoes messages as they came, chooses the subprotocol "two" if it is offered, and
// closes with 4002 when asked to. Prints its port.
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  perMessageDeflate: true,
  maxPayload: 64 << 20,
  handleProtocols: (offered) => (offered.has('two') ? 'two' : false),
});
server.on('listening', () => console.log(server.address().port));
server.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => {
    if (!isBinary && data.toString() === 'close me') socket.close(4002, 'go');
    else socket.send(data, { binary: isBinary });
  });
  socket.on('error', (error) => console.error(error.message));
});
