// Making a picture the start of the next one: offered by whatever can show pictures to start from.
let action = null;

// `start` takes a picture's Blob.
export function offer(start) {
  action = start;
}

export const canStart = () => action !== null;

export function startFrom(blob) {
  return action?.(blob);
}
