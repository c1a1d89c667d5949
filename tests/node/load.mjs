// What three.js finds in a binary glTF file.
import fs from "node:fs";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";

const data = fs.readFileSync(process.argv[2]);
const gltf = await new GLTFLoader().parseAsync(data.buffer.slice(data.byteOffset, data.byteOffset + data.length), "");
gltf.scene.updateMatrixWorld(true);
const meshes = [];
gltf.scene.traverse((object) => {
    if (!object.isMesh) return;
    const attributes = Object.entries(object.geometry.attributes);
    meshes.push({
        material: object.material.name,
        acoustic: object.material.userData.acoustic,
        triangles: object.geometry.index.count / 3,
        attributes: Object.fromEntries(attributes.map(([name, value]) => [name, Array.from(value.array)])),
    });
});
const cameras = gltf.cameras.map((camera) => ({
    fov: camera.fov,
    aspect: camera.aspect,
    position: camera.getWorldPosition(camera.position.clone()).toArray(),
    direction: camera.getWorldDirection(camera.position.clone()).toArray(),
}));
const reverbs = gltf.parser.json.extensions.MPEG_audio_spatial.reverbs;
console.log(JSON.stringify({ meshes, cameras, reverbs, scene: gltf.scene.userData }));
