"""Define the stacked stateful LSTM network, and compile it for training."""

from midilstm.config import ModelConfig
from midilstm.training import suppress_stderr

with suppress_stderr():
    import keras
    import tensorflow as tf

    from midilstm.training.lstm import LSTM


def build_model(
    config: ModelConfig, vocabulary_size: int, *, batch_size: int, sequence_length: int
) -> keras.Model:
    """Build the network from ids int32 [B, T] to probabilities float32 [B, T, V].

    It is an embedding, stateful LSTM layers each followed by dropout, and a dense softmax layer.
    """
    # With Keras's own 0.05 the last layer outputs nearly the same for all inputs, and learns only
    # how frequent the notes are for tens of epochs.
    spread = keras.initializers.RandomNormal(stddev=1.0)
    inputs = keras.Input(batch_shape=(batch_size, sequence_length), dtype="int32", name="ids")
    x = keras.layers.Embedding(vocabulary_size, config.embedding_size, spread, name="embedding")(
        inputs
    )
    x = keras.layers.Dropout(config.input_dropout, name="dropout_0")(x)
    for index in range(1, config.layers + 1):
        x = LSTM(config.units, return_sequences=True, stateful=True, name=f"lstm_{index}")(x)
        x = keras.layers.Dropout(config.dropout, name=f"dropout_{index}")(x)
    outputs = keras.layers.Dense(vocabulary_size, activation="softmax", name="next_token")(x)
    return keras.Model(inputs, outputs, name="music")


def compile_for_training(
    network: keras.Model, learning_rate: float, *, ema: float = 0.0, jit: bool = False
) -> None:
    """Give the network its loss, its accuracy and an Adam with all its variables made.

    With `ema` Adam also keeps averages of the weights, with that momentum.
    `jit` compiles the whole step with XLA, without a GPU; otherwise only the LSTMs' recurrence is.
    """
    network.compile(
        optimizer=keras.optimizers.Adam(learning_rate, use_ema=ema > 0, ema_momentum=ema),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=jit and not tf.config.list_physical_devices("GPU"),  # XLA cannot call cuDNN
    )
    network.optimizer.build(network.trainable_variables)
