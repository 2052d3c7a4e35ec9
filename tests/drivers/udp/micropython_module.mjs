// Runs docs/senders/micropython/uicps_sender.py under MicroPython's WebAssembly build, which has no
// sockets: its bytes go out and come in by a real UDP socket of node's.
//
//     node micropython_module.mjs PACKAGE SENDERS HOST PORT KEY_HEX BOOT SAMPLES INTERVAL_US REPEAT WANTS_ACK LINGER_S
import dgram from "node:dgram";
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, senders, host, port, key, boot, samples, intervalUs, repeat, wantsAck, lingerS] =
  process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(`${folder}/micropython.mjs`));
const python = await loadMicroPython({ heapsize: 4 << 20, stdout: (text) => console.log(text), linebuffer: true });
python.FS.writeFile("uicps_sender.py", fs.readFileSync(`${senders}/micropython/uicps_sender.py`));
python.runPython(`
import binascii, sys
assert sys.implementation.name == "micropython"
import uicps_sender

def carry_out(point, value):
    if point != 1:
        return uicps_sender.NO_SUCH_POINT, 0.0
    print("command %d %g" % (point, value))
    return uicps_sender.DONE, value

sender = uicps_sender.Sender(binascii.unhexlify("${key}"), ("temperature", "setpoint"), ${boot},
    repeat=${repeat}, ring=512, wants_ack=bool(${wantsAck}), command=carry_out)
sender.resend_ms = 300

def sample(number, now_ms):
    sender.sample((number, number / 4), now_ms)

def datagrams(now_ms, unix_ms):
    return " ".join(binascii.hexlify(data).decode() for data in sender.datagrams(now_ms, int(unix_ms)))

def receive(data, now_ms):
    answer = sender.receive(binascii.unhexlify(data), now_ms)
    return binascii.hexlify(answer).decode() if answer else ""
`);
const [sample, datagrams, receive, sender] = ["sample", "datagrams", "receive", "sender"].map((name) =>
  python.globals.get(name),
);
const nowMs = () => Math.floor(performance.now());
const socket = dgram.createSocket("udp4");
socket.on("message", (data) => {
  const answer = receive(data.toString("hex"), nowMs());
  if (answer) socket.send(Buffer.from(answer, "hex"));
});
socket.on("error", () => {}); // nobody listens at the moment
await new Promise((done) => socket.connect(Number(port), host, done));

const exchange = () => {
  const unixMs = String(Date.now()); // as a number it would be cut to 32 bits on its way into Python
  for (const data of datagrams(nowMs(), unixMs).split(" ").filter(Boolean)) {
    socket.send(Buffer.from(data, "hex"));
  }
};
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
for (let number = 1; number <= Number(samples); number++) {
  sample(number, nowMs());
  exchange();
  await pause(Number(intervalUs) / 1000);
}
for (const end = performance.now() + 1000 * Number(lingerS); performance.now() < end; await pause(50)) {
  sender.beat();
  exchange();
}
console.log(`pending ${sender.pending} sent ${sender.seq}`);
process.exit(0);
