# needs: optuna-integration deps
# about: optuna
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import optuna
import torch

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, trial.suggest_int("width", 2, 8)), torch.nn.Tanh())
    optimizer = torch.optim.SGD(net.parameters(), lr=trial.suggest_float("lr", 1e-3, 1e-1, log=True))
    for step in range(3):
        loss = net(torch.ones(2, 4)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report(loss.item(), step)
    return loss.item()


study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(objective, n_trials=4)
R("best", study.best_value, *study.best_params.values())
