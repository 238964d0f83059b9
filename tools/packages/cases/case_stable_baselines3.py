# needs: stable-baselines3 deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import gymnasium
import torch
from stable_baselines3 import A2C, DQN, PPO, SAC

torch.set_num_threads(1)
for algorithm, env, extra in ((PPO, "CartPole-v1", dict(n_steps=64, batch_size=32, n_epochs=2)), (A2C, "CartPole-v1", {}), (DQN, "CartPole-v1", dict(learning_starts=20, train_freq=4)),
                              (SAC, "Pendulum-v1", dict(learning_starts=20))):
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **extra)
    model.learn(total_timesteps=128 if algorithm is not SAC else 40)
    obs, _ = gymnasium.make(env).reset(seed=1)
    action, _ = model.predict(obs, deterministic=True)
    R(algorithm.__name__, float(sum(p.sum() for p in model.policy.parameters())), float(action.sum()))
