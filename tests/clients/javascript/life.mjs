// The whole life of a collection with the unmodified AWS SDK for JavaScript: node life.mjs FOLDER-OF-PORTRAITS COLLECTION
// Endpoint, region and credentials come from the environment, as in any other program that uses the SDK.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as sdk from "@aws-sdk/client-rekognition";

const [folder, CollectionId] = process.argv.slice(2);
const client = new sdk.RekognitionClient();

const call = (operation, input = {}) => client.send(new sdk[`${operation}Command`](input));
const image = async (name) => ({ Bytes: await readFile(join(folder, `${name}.jpg`)) });

async function refused(name, operation, input) {
  const error = await call(operation, input).then(() => assert.fail(`${operation} was not refused`), (reason) => reason);
  assert.equal(error.name, name);
  // ValidationException is the one that the service model, and so the SDK, has no class for.
  assert.ok(error instanceof (sdk[name] ?? sdk.RekognitionServiceException), `${name} has its own class`);
  assert.equal(error.$metadata.httpStatusCode, 400);
  assert.ok(error.$metadata.requestId);
  return error.message;
}

async function all(paginate, input, member) {
  const found = [];
  for await (const page of paginate({ client, pageSize: 1 }, input)) {
    assert.ok(page[member].length <= 1);
    found.push(...page[member]);
  }
  return found;
}

async function isBorn() {
  const created = await call("CreateCollection", { CollectionId, Tags: { team: "events" } });
  assert.equal(created.StatusCode, 200);
  const message = await refused("ResourceAlreadyExistsException", "CreateCollection", { CollectionId });
  assert.equal(message, `The collection id: ${CollectionId} already exists`);
  const described = await call("DescribeCollection", { CollectionId });
  assert.equal(described.FaceCount, 0);
  assert.ok(Math.abs(Date.now() - described.CreationTimestamp.getTime()) < 120_000);
  assert.ok((await all(sdk.paginateListCollections, {}, "CollectionIds")).includes(CollectionId));
  const ResourceArn = described.CollectionARN;
  await call("TagResource", { ResourceArn, Tags: { year: "2026" } });
  await call("UntagResource", { ResourceArn, TagKeys: ["team"] });
  assert.deepEqual((await call("ListTagsForResource", { ResourceArn })).Tags, { year: "2026" });
}

async function isFilled() {
  const faces = {};
  for (const ExternalImageId of ["obama", "obama2", "biden"]) {
    const answer = await call("IndexFaces", { CollectionId, ExternalImageId, Image: await image(ExternalImageId) });
    assert.equal(answer.FaceRecords.length, 1);
    assert.deepEqual(answer.UnindexedFaces, []);
    faces[ExternalImageId] = answer.FaceRecords[0].Face.FaceId;
  }
  const listed = await all(sdk.paginateListFaces, { CollectionId }, "Faces");
  assert.deepEqual(Object.fromEntries(listed.map((face) => [face.ExternalImageId, face.FaceId])), faces);
  const detected = await call("DetectFaces", { Image: await image("biden") });
  assert.ok(detected.FaceDetails[0].Confidence > 90);
  return faces;
}

async function isSearched(faces) {
  const names = (answer) => answer.FaceMatches.map((match) => match.Face.ExternalImageId).sort();
  const byFace = await call("SearchFaces", { CollectionId, FaceId: faces.obama, FaceMatchThreshold: 90.5 });
  assert.deepEqual(names(byFace), ["obama2"]);
  const byImage = await call("SearchFacesByImage", { CollectionId, Image: await image("obama3") });
  assert.deepEqual(names(byImage), ["obama", "obama2"]);
  const compared = { SourceImage: await image("obama"), TargetImage: await image("obama2") };
  assert.equal((await call("CompareFaces", compared)).FaceMatches.length, 1);
  compared.TargetImage = await image("biden");
  assert.equal((await call("CompareFaces", compared)).UnmatchedFaces.length, 1);
}

async function getsUsers(faces) {
  const ada = { CollectionId, UserId: "ada" };
  const FaceIds = [faces.obama, faces.obama2];
  await call("CreateUser", ada);
  await refused("ConflictException", "CreateUser", ada);
  assert.equal((await call("AssociateFaces", { ...ada, FaceIds })).AssociatedFaces.length, 2);
  await call("CreateUser", { CollectionId, UserId: "bea" });
  const listed = await all(sdk.paginateListUsers, { CollectionId }, "Users");
  assert.deepEqual(listed.map((user) => user.UserId).sort(), ["ada", "bea"]);
  const found = await call("SearchUsersByImage", { CollectionId, Image: await image("obama3") });
  assert.deepEqual(found.UserMatches.map((match) => match.User.UserId), ["ada"]);
  assert.deepEqual((await call("SearchUsers", { CollectionId, FaceId: faces.biden })).UserMatches, []);
  const kept = await call("DeleteFaces", { CollectionId, FaceIds });
  assert.deepEqual(kept.UnsuccessfulFaceDeletions[0].Reasons, ["ASSOCIATED_TO_AN_EXISTING_USER"]);
  assert.equal((await call("DisassociateFaces", { ...ada, FaceIds })).DisassociatedFaces.length, 2);
  await call("DeleteUser", ada);
  await refused("ResourceNotFoundException", "DeleteUser", ada);
}

async function refuses() {
  const Image = { Bytes: Buffer.from("no picture") };
  await refused("InvalidImageFormatException", "IndexFaces", { CollectionId, Image });
  await refused("ResourceNotFoundException", "ListFaces", { CollectionId: "no-such-collection" });
  await refused("ValidationException", "SearchFacesByImage", { CollectionId, Image, MaxFaces: 5000 });
  const FaceId = "11111111-2222-4333-8444-555555555555";
  const message = await refused("InvalidParameterException", "SearchFaces", { CollectionId, FaceId });
  assert.equal(message, "faceId was not found in the collection.");
  await refused("InvalidPaginationTokenException", "ListFaces", { CollectionId, NextToken: "nonsense" });
}

async function ends(faces) {
  const FaceIds = Object.values(faces);
  const gone = await call("DeleteFaces", { CollectionId, FaceIds });
  assert.deepEqual(gone.DeletedFaces.sort(), FaceIds.sort());
  assert.equal((await call("DeleteCollection", { CollectionId })).StatusCode, 200);
  await refused("ResourceNotFoundException", "DeleteCollection", { CollectionId });
}

await isBorn();
const faces = await isFilled();
await isSearched(faces);
await getsUsers(faces);
await refuses();
await ends(faces);
console.log("lived");
