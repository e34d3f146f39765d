
"use strict";
// Ties the words to the recording: a click or a key goes to a word, the word that plays is marked.
const audio = document.querySelector("audio");
const text = document.getElementById("words");
const words = [...text.querySelectorAll(".spoken")];
const starts = words.map((word) => Number(word.dataset.start));
const first = words.filter((word) => !word.previousElementSibling); // of each line
let marked = null;

// The last word that has begun by a time, -1 before the first; starts ascend.
const placeAt = (time) => {
  let low = 0, high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= time + 0.005) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};

if (audio && words.length) {
  const mark = () => {
    const word = words[placeAt(audio.currentTime)] ?? null;
    if (word === marked) return;
    if (marked) marked.classList.remove("now");
    marked = word;
    if (!word) return;
    word.classList.add("now");
    const { top, bottom } = word.getBoundingClientRect();
    const covered = document.querySelector(".player").getBoundingClientRect().bottom;
    if (!audio.paused && (top < covered || bottom > innerHeight)) {
      word.scrollIntoView({ block: "center" });
    }
  };
  const follow = () => {
    mark();
    if (!audio.paused) requestAnimationFrame(follow);
  };
  const play = () => audio.play().catch(() => {}); // a pause may come before it begins
  const seek = (time) => {
    audio.currentTime = time;
    mark();
  };
  const near = (places, step) => {
    const here = placeAt(audio.currentTime);
    const at = places.findLastIndex((place) => place <= here);
    return places[Math.max(0, Math.min(at + step, places.length - 1))];
  };
  const all = words.map((_, place) => place);
  const lines = first.map((word) => words.indexOf(word));
  const keys = {
    ArrowRight: () => near(all, 1),
    ArrowLeft: () => near(all, -1),
    ArrowDown: () => near(lines, 1),
    ArrowUp: () => near(lines, -1),
    Home: () => 0,
    End: () => words.length - 1,
  };

  audio.addEventListener("play", follow);
  audio.addEventListener("seeked", mark);
  audio.addEventListener("error", () => (document.getElementById("silent").hidden = false));
  text.addEventListener("click", (event) => {
    const word = event.target.closest(".spoken");
    if (!word || String(getSelection())) return; // text that is selected is not to be played
    seek(Number(word.dataset.start));
    play();
  });
  text.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " ") {
      if (audio.paused) play();
      else audio.pause();
    } else if (keys[event.key]) {
      seek(starts[keys[event.key]()]);
      marked?.scrollIntoView({ block: "nearest" });
    } else return;
    event.preventDefault();
  });
}
