// Makes a screenshot small: `node compress.mjs FILE.png`. Few colours are needed; 256 are kept.
import { readFileSync, writeFileSync } from 'node:fs';
import UPNG from 'upng-js';

const [file] = process.argv.slice(2);
const image = UPNG.decode(readFileSync(file));
writeFileSync(file, Buffer.from(UPNG.encode(UPNG.toRGBA8(image), image.width, image.height, 256)));
