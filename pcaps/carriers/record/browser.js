// A telephone in a browser: JsSIP, told by the page's fragment what to do.
// Bundled before use (browser.py). What happens is said on the console.
import JsSIP from "jssip";

const order = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const after = Number(order.after);
const say = (text) => console.log("PHONE " + text);

const phone = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(order.socket)],
  uri: `sip:${order.user}@${order.domain}`,
  register: true,
  register_expires: 600,
  session_timers: false,
  user_agent: "JsSIP in a browser",
});

function call() {
  const session = phone.call(order.target, {
    // There is no microphone here: the browser only offers to receive.
    mediaStream: new MediaStream(),
    rtcOfferConstraints: { offerToReceiveAudio: true, offerToReceiveVideo: false },
    eventHandlers: {
      progress: () => {
        say("progress");
        if (order.act === "leave") setTimeout(() => session.terminate(), after);
      },
      confirmed: () => {
        say("confirmed");
        if (order.act === "talk") setTimeout(() => session.terminate(), after);
      },
      ended: () => say("over"),
      failed: (event) => say("over " + event.cause),
      // The addresses of this host are all there will be.
      icecandidate: (event) => event.ready(),
      "peerconnection:setremotedescriptionfailed": (error) => say("bad answer " + error),
      "peerconnection:createofferfailed": (error) => say("no offer " + error),
    },
  });
}

phone.on("connected", () => say("connected"));
phone.on("registered", () => {
  say("registered");
  if (order.act !== "refuse") call();
});
phone.on("newRTCSession", ({ originator, session }) => {
  if (originator !== "remote") return;
  say("called");
  session.on("failed", () => say("over"));
  setTimeout(() => session.terminate({ status_code: 486, reason_phrase: "Busy Here" }), after);
});
phone.start();
