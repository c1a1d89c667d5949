"""Readers that exist for Node.js only: the glTF validator of Khronos, three.js and the web SDK of Resonance Audio."""
