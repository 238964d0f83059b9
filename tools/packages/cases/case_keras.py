# needs: keras deps
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import torch
from keras import layers

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 28, 28, 1)).astype("float32")
y = rng.integers(0, 10, 256)
model = keras.Sequential(
    [
        keras.Input(shape=(28, 28, 1)),
        layers.Conv2D(8, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]
)
for w in model.weights:
    w.assign(
        np.random.default_rng(w.shape[0] if len(w.shape) else 1).normal(size=w.shape).astype("float32") * 0.1
        if "variance" not in w.path
        else np.ones(w.shape, "float32")
    )
model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
h = model.fit(x, y, batch_size=64, epochs=3, shuffle=False, verbose=0)
print("RESULT loss", *[round(v, 4) for v in h.history["loss"]])
print("RESULT eval", *[round(float(v), 4) for v in model.evaluate(x, y, verbose=0)])
print("RESULT pred", np.round(model.predict(x[:2], verbose=0), 4).ravel().tolist())
# functional, lstm, attention
inp = keras.Input((12,))
e = layers.Embedding(20, 8, embeddings_initializer=keras.initializers.Constant(0.1))(inp)
l = layers.LSTM(6, kernel_initializer=keras.initializers.Constant(0.05), recurrent_initializer=keras.initializers.Constant(0.02))(e)
o = layers.Dense(1, kernel_initializer="ones")(l)
m = keras.Model(inp, o)
m.compile("rmsprop", "mse")
h = m.fit(rng.integers(0, 20, (64, 12)), rng.normal(size=(64, 1)), epochs=2, verbose=0, shuffle=False)
print("RESULT lstm", h.history["loss"])
print("RESULT params", model.count_params(), m.count_params())
m.save("model.keras")
m2 = keras.saving.load_model("model.keras")
print("RESULT re", float(np.abs(m2.predict(np.ones((2, 12)), verbose=0) - m.predict(np.ones((2, 12)), verbose=0)).max()))
from keras import ops

a = ops.arange(12.0).reshape((3, 4))
print(
    "RESULT ops",
    float(ops.sum(ops.softmax(a))),
    float(ops.logsumexp(a)),
    ops.convert_to_numpy(ops.top_k(a, 2)[0]).tolist(),
    ops.convert_to_numpy(ops.image.resize(np.ones((1, 4, 4, 3), "float32"), (8, 8))).sum(),
)
# custom loop with torch
opt = torch.optim.SGD(m.parameters(), lr=0.1)
loss = (m(torch.ones(4, 12)) ** 2).mean()
loss.backward()
opt.step()
print("RESULT step", float(loss), float(m(torch.ones(4, 12)).detach().mean()))
