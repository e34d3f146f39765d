
"use strict";
// Ties each utterance's recording to its picture: where it plays, which word that is, the keys.
for (const utterance of document.querySelectorAll(".utterance")) {
  const audio = utterance.querySelector("audio");
  const scroll = utterance.querySelector(".scroll");
  if (!audio || !scroll) continue;
  const seconds = scroll.dataset.frames * scroll.dataset.frame;
  const drawing = scroll.querySelector("svg");
  const playhead = scroll.querySelector(".playhead");
  const words = [...scroll.querySelectorAll(".word")];
  const starts = words.map((word) => Number(word.dataset.start));

  const show = () => {
    const x = (audio.currentTime / seconds) * drawing.clientWidth;
    playhead.setAttribute("transform", `translate(${x} 0)`);
    const now = starts.findLastIndex((start) => start <= audio.currentTime + 0.001);
    words.forEach((word, place) => word.classList.toggle("now", place === now));
    const left = scroll.scrollLeft, width = scroll.clientWidth;
    if (x < left || x > left + width * 0.85) scroll.scrollLeft = x - width * 0.15;
  };
  const follow = () => {
    show();
    if (!audio.paused) requestAnimationFrame(follow);
  };
  const play = () => audio.play().catch(() => {}); // a pause may come before it begins
  const toggle = () => (audio.paused ? play() : audio.pause());
  const seek = (time) => {
    audio.currentTime = Math.max(0, Math.min(time, seconds));
    show();
  };

  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    follow();
  });
  audio.addEventListener("seeked", show);
  scroll.addEventListener("click", (event) => {
    const x = event.clientX - drawing.getBoundingClientRect().left;
    seek((x / drawing.clientWidth) * seconds);
    play();
  });
  scroll.addEventListener("keydown", (event) => {
    const time = audio.currentTime;
    if (event.key === " ") toggle();
    else if (event.key === "ArrowRight") seek(starts.find((s) => s > time + 0.01) ?? seconds);
    else if (event.key === "ArrowLeft") seek(starts.findLast((s) => s < time - 0.05) ?? 0);
    else if (event.key === "Home") seek(0);
    else return;
    event.preventDefault();
  });
}

// Orders and finds utterances.
for (const tools of document.querySelectorAll(".tools")) {
  const list = tools.nextElementSibling;
  const all = [...list.children];
  const order = tools.querySelector("select"), wanted = tools.querySelector("input");
  const keys = {
    errors: (data) => -data.errors,
    more: (data) => -data.more,
    less: (data) => Number(data.more),
    place: (data) => Number(data.place),
  };
  order.addEventListener("change", () => {
    const key = keys[order.value];
    all.sort((a, b) => key(a.dataset) - key(b.dataset) || a.dataset.place - b.dataset.place);
    list.append(...all);
  });
  wanted.addEventListener("input", () => {
    const word = wanted.value.toLowerCase();
    for (const one of all) {
      const told = [...one.querySelectorAll("h4, .text")].map((part) => part.textContent);
      one.hidden = !told.join(" ").toLowerCase().includes(word);
    }
  });
  tools.hidden = false;
}
