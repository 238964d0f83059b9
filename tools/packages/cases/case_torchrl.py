# needs: torchrl tensordict pyvers deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.modules import MLP, NormalParamExtractor, ProbabilisticActor, QValueActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss, DQNLoss, SoftUpdate
from torchrl.objectives.value import GAE

torch.manual_seed(0)
STEPS = 10


def steps(*size, **more):
    end = torch.zeros(*size, 1).bool()
    after = {"observation": torch.randn(*size, 4), "reward": torch.randn(*size, 1), "done": end, "terminated": end.clone()}
    return TensorDict({"observation": torch.randn(*size, 4), "next": after, **more}, size)


net = torch.nn.Sequential(MLP(in_features=4, out_features=2, num_cells=[8]), NormalParamExtractor())
policy = TensorDictModule(net, in_keys=["observation"], out_keys=["loc", "scale"])
actor = ProbabilisticActor(policy, in_keys=["loc", "scale"], distribution_class=TanhNormal, return_log_prob=True)
value = ValueOperator(MLP(in_features=4, out_features=1, num_cells=[8]), in_keys=["observation"])
data = actor(steps(2, STEPS))
R("actor", data["action"].sum().item(), data["action_log_prob"].sum().item())
data = GAE(gamma=0.99, lmbda=0.95, value_network=value)(data.detach())
R("advantage", data["advantage"].sum().item(), data["value_target"].sum().item())

loss = ClipPPOLoss(actor, value)
buffer = ReplayBuffer(storage=LazyTensorStorage(2 * STEPS), batch_size=8)
buffer.extend(data.reshape(-1))
optimizer = torch.optim.Adam(loss.parameters(), 1e-3)
for _ in range(3):
    parts = loss(buffer.sample())
    total = parts["loss_objective"] + parts["loss_critic"] + parts["loss_entropy"]
    total.backward()
    optimizer.step()
    optimizer.zero_grad()
    R("ppo", total.item())

critic = QValueActor(MLP(in_features=4, out_features=3, num_cells=[8]), spec=None, action_space="categorical", in_keys=["observation"])
dqn = DQNLoss(critic, action_space="categorical", delay_value=True)
update = SoftUpdate(dqn, eps=0.9)
found = dqn(steps(6, action=torch.randint(0, 3, (6,))))["loss"]
found.backward()
update.step()
R("dqn", found.item(), sum(p.grad.abs().sum().item() for p in dqn.parameters() if p.grad is not None))
