// Texts in PNG files: chunks of the kind iTXt (PNG 1.2, section 11.3.4.5).

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
const HEADER = 33; // bytes: the signature and IHDR
const checksum = (bytes) => ~bytes.reduce((sum, byte) => TABLE[(sum ^ byte) & 255] ^ (sum >>> 8), -1) >>> 0;

/** The PNG of a blob with further texts by keyword. */
export async function withSettings(blob, texts) {
  const chunks = Object.entries(texts).map(([keyword, text]) => {
    const inside = new TextEncoder().encode(`iTXt${keyword}\0\0\0\0\0${text}`), chunk = new Uint8Array(inside.length + 8);
    chunk.set(inside, 4);
    const view = new DataView(chunk.buffer);
    view.setUint32(0, inside.length - 4);
    view.setUint32(chunk.length - 4, checksum(inside));
    return chunk;
  });
  return new Blob([blob.slice(0, HEADER), ...chunks, blob.slice(HEADER)], { type: "image/png" });
}

/** The text "explorer" in a PNG; undefined if it has none. */
export async function settings(file) {
  const buffer = await file.arrayBuffer(), view = new DataView(buffer), letters = new TextDecoder();
  for (let at = 8; at + 12 <= buffer.byteLength; at += 12 + view.getUint32(at)) {
    const text = letters.decode(new Uint8Array(buffer, at + 4, 4 + Math.min(view.getUint32(at), buffer.byteLength - at - 8)));
    if (text.startsWith("iTXtexplorer\0")) return text.slice("iTXtexplorer\0\0\0\0\0".length);
  }
  return undefined;
}
