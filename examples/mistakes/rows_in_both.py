# Wrong: the parts for training and for the test overlap. Seen: no error; the test looks better than it is.
# Code: FB-DATA-05
# Fix: "x[60:], y[60:]" => "x[80:], y[80:]"
import torch

torch.manual_seed(0)
x, y = torch.randn(100, 4), torch.randint(0, 2, (100,))
train_x, train_y = x[:80], y[:80]
test_x, test_y = x[60:], y[60:]
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(5):
    loss = torch.nn.functional.cross_entropy(model(train_x), train_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    print((model(test_x).argmax(1) == test_y).float().mean())
