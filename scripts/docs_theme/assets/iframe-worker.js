/* The search runs in a worker. Browsers refuse workers to pages that are opened as files: a hidden frame takes its place. */
if (location.protocol === "file:") {
  const inside = `
    const post = window.parent.postMessage.bind(window.parent);
    window.receive = window.postMessage.bind(window);
    window.postMessage = data => post(data, "*");
    window.importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = () => reject(new Error(url));
      document.head.append(script);
    })), Promise.resolve());`;

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc = `<script>${inside}<\/script><script src="${new URL(url, location)}"><\/script>`;
      this.loaded = new Promise(resolve => { this.frame.onload = resolve; });
      window.addEventListener("message", event => {
        if (event.source !== this.frame.contentWindow) return;
        const passed = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(passed);
        if (this.onmessage) this.onmessage(passed);
      });
      document.body.append(this.frame);
    }
    postMessage(data) { this.loaded.then(() => this.frame.contentWindow.receive(data, "*")); }
    terminate() { this.frame.remove(); }
  };
}
