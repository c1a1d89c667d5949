// The named materials of the web SDK of Resonance Audio.
const utils = require("resonance-audio/src/utils.js");

console.log(JSON.stringify(utils.ROOM_MATERIAL_COEFFICIENTS));
